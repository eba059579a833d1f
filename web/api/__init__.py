"""The views below ``/api``: one module for each resource."""
