"""Skills in processes of their own: whatever one does to its process, the worker lives."""

from .child import Child
from .member import Recycling
from .pool import Processes
from .zygote import Zygote

__all__ = ["Child", "Processes", "Recycling", "Zygote"]
