"""The compiler: from a blueprint to a plan, with every check that is possible before a job runs.

Start with ``compiler.py``. ``handler_source.py`` reads the actions of handlers from their source without running them.
"""
