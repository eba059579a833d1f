"""Why a job does not move, or why it ended: facts in, sentences out.

Start with ``why.py``.
"""
