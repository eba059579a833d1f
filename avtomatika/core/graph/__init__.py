"""Graphs of blueprints as DOT, with the path of a job or the traffic of many jobs drawn over them.

Start with ``dot.py``.
"""
