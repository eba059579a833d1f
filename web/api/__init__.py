"""Everything below ``/api``: one file a noun."""
