"""Advance jobs: consume step events, run handlers, commit. Start with ``loop.py``."""

from .loop import Orchestrator

__all__ = ["Orchestrator"]
