"""Jobs, history and timers on Redis: every change of a job is one Lua script."""

from avtomatika.transport import RedisClient

from .branches import BranchReply, FinishedBranch, LoadedBranches, WantedBranches
from .commit import Answer, Cause, Commit, CommitReply
from .creation import Created, NewJob
from .data_stores import RedisData
from .glances import Glance
from .keyring import Keyring
from .logins import Logins
from .plans import Announced, Plans, needed_by
from .queues import QueuedMessage, Queues
from .records import JobFilter, UnreadableJob
from .server_health import Finding, State, diagnose
from .server_info import ServerInfo
from .sessions import Pair, Refreshed, Session, Sessions
from .store import Store
from .sweeper import Sweeper
from .task_leases import HandOver, Settled, TaskLease, TaskLeases
from .traffic import TrafficRecords
from .webhooks import WebhookRecords
from .worker_registry import WorkerRecord, WorkerRegistry

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
    "JobFilter",
    "Keyring",
    "LoadedBranches",
    "Logins",
    "NewJob",
    "Pair",
    "Plans",
    "QueuedMessage",
    "Queues",
    "RedisClient",
    "RedisData",
    "Refreshed",
    "ServerInfo",
    "Session",
    "Sessions",
    "Settled",
    "State",
    "Store",
    "Sweeper",
    "TaskLease",
    "TaskLeases",
    "TrafficRecords",
    "UnreadableJob",
    "WantedBranches",
    "WebhookRecords",
    "WorkerRecord",
    "WorkerRegistry",
    "diagnose",
    "needed_by",
]
