"""The state machine: (plan, job, event) to :class:`~avtomatika.core.step.Step`. The only place where a job changes.

Start with ``machine.py``; the other modules handle one kind of event each.
"""
