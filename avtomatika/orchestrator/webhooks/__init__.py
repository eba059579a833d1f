"""Webhook delivery: its own loop, SSRF protection, a circuit breaker per receiver.

Start with ``delivery.py``.
"""
