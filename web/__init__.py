"""The HTTP API: a Flask app that creates jobs and shows what became of them.

Flask's own Blueprints are called routes here.
"""

#: Where an app keeps its :class:`.site.Site`.
EXTENSION = "avtomatika"
