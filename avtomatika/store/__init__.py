"""Jobs, history and timers on Redis: every change of a job is one Lua script."""

from avtomatika.transport import Server

from .branches import BranchReply, FinishedBranch, LoadedBranches, WantedBranches
from .commit import Answer, Cause, Commit, CommitReply
from .creation import Created, NewJob
from .data import StoredData
from .diagnosis import Finding, State, diagnose
from .glances import Glance
from .held import HandOver, HeldTask, HeldTasks, Settled
from .keyring import Keyring
from .logins import Logins
from .memory import ServerInfo
from .plans import Announced, Plans, needed_by
from .queues import QueuedMessage, Queues
from .records import JobFilter, UnreadableJob
from .registry import Registry, WorkerRecord
from .sessions import Pair, Refreshed, Session, Sessions
from .store import Store
from .traffic import TrafficRecords
from .upkeep import Upkeep
from .webhooks import WebhookRecords

__all__ = [
    "Announced",
    "Answer",
    "BranchReply",
    "Cause",
    "Commit",
    "CommitReply",
    "Created",
    "Finding",
    "FinishedBranch",
    "Glance",
    "HandOver",
    "HeldTask",
    "HeldTasks",
    "JobFilter",
    "Keyring",
    "LoadedBranches",
    "Logins",
    "NewJob",
    "Pair",
    "Plans",
    "QueuedMessage",
    "Queues",
    "Refreshed",
    "Registry",
    "Server",
    "ServerInfo",
    "Session",
    "Sessions",
    "Settled",
    "State",
    "Store",
    "StoredData",
    "TrafficRecords",
    "UnreadableJob",
    "Upkeep",
    "WantedBranches",
    "WebhookRecords",
    "WorkerRecord",
    "diagnose",
    "needed_by",
]
