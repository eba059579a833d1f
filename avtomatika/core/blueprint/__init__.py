"""Blueprints: states with handlers, the actions of handlers, and conditions.

Start with ``blueprint.py``. ``actions.py`` has the object that handlers receive, ``action_types.py`` the decisions that
it records.
"""
