"""The HTTP API: a Flask app that creates jobs and shows what became of them.

Flask's own Blueprints are called routes here.
"""
