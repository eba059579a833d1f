"""Choosing a worker for a task: by requirements, cost, load, reputation and cached files.

Start with ``selection.py``.
"""
