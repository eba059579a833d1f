"""Explains why a job does not move, or why it ended: from facts to sentences.

Start with ``why.py``.
"""
