"""What users write: blueprints, their handlers, the actions that handlers take, and conditions.

Start with ``blueprint.py``; ``actions.py`` is the object that handlers receive, ``action_types.py``
the values that it records.
"""
