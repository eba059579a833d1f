"""The HTTP API: a Flask app that creates, shows and controls jobs.

Flask's own Blueprints are called routes here.
"""

#: The key of :class:`.services.Services` in ``app.extensions``.
EXTENSION = "avtomatika"
