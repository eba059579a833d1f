"""Formats that cross a boundary: wire messages, webhooks, bodies of the HTTP API."""
