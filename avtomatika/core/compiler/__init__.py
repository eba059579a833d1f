"""Blueprint to plan, with every check that is possible before a job runs.

Start with ``compiler.py``. ``handler_source.py`` reads what handlers do from their source without running them.
"""
