"""Exchanges, queues and bindings: declaring, listing, expiring and deleting them. Start with :mod:`.topology`."""
