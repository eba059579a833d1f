"""Jobs, history and timers on Redis: every change of a job is one Lua script."""

from .commit import Answer, Cause, Commit, CommitReply
from .records import JobFilter
from .store import Created, NewJob, ServerInfo, Store
from .upkeep import Upkeep

__all__ = [
    "Answer",
    "Cause",
    "Commit",
    "CommitReply",
    "Created",
    "JobFilter",
    "NewJob",
    "Router",
    "ServerInfo",
    "Store",
    "Upkeep",
]
