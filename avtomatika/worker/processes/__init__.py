"""Skills in processes of their own: whatever one does to its process, the worker lives."""

from .child import Child
from .pool import Processes, Recycling
from .zygote import Zygote

__all__ = ["Child", "Processes", "Recycling", "Zygote"]
