"""Graphs of blueprints as DOT, with the path of a job or the traffic of many jobs as an overlay.

Start with ``dot.py``.
"""
