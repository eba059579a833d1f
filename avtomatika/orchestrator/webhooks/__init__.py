"""Delivery of webhooks: a loop of its own, SSRF protection, a circuit breaker per receiver.

Start with ``delivery.py``.
"""
