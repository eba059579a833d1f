"""Skills in processes of their own: whatever one does to its process, the worker lives."""

from .child import Child
from .member import RecycleLimits
from .process_pool import ProcessExecutor
from .zygote import Zygote

__all__ = ["Child", "ProcessExecutor", "RecycleLimits", "Zygote"]
