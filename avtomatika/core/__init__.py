"""The pure core: no I/O, no clock, no generated ids, no logging.

A blueprint (``blueprint``) is compiled (``compiler``) to a ``plan``. ``machine`` takes a plan, a ``job`` and an event
(``events``) and returns a ``step``, which the store commits. ``placement`` chooses workers, ``graph`` draws plans, and
``explain`` says why a job does not move.
"""
