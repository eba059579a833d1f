"""The state machine: (plan, job, event) to :class:`~avtomatika.core.step.Step`. Only this package changes jobs.

Start with ``machine.py``; the other modules handle one kind of event each.
"""
