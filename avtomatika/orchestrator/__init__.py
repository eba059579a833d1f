"""Advance jobs: take step events, let handlers decide, commit."""

from .loop import Orchestrator

__all__ = ["Orchestrator"]
