"""Skills in child processes, so that a crash of one does not stop the worker."""

from .child import Child
from .process_pool import ProcessExecutor
from .zygote import Zygote
