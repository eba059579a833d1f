"""Jobs, history and timers on Redis. Each change of a job is one Lua script. Start at ``store.py``."""

from avtomatika.transport import Reading, RedisClient, Router

from .archive import Archive, Position, StoredJob
from .archiver import Archiver
from .branches import BranchQuery, BranchStatus, FinishedBranch, LoadedBranches
from .client_limits import NEW_SKILLS_SECONDS
from .commit import Cause, Commit, CommitReply, CommitStatus
from .creation import CreatedJob, NewJob
from .data_stores import RedisData
from .job_list import JobCounts
from .job_revisions import JobRevision, Wanted
from .job_streams import JobStreams, StreamEntry, StreamPage
from .keyring import Keyring
from .limits import Limits
from .logins import LINK_SECONDS, Logins
from .overview import Overview
from .plans import SERVED_WITHIN_MS, PlanAnnouncements, Plans, needed_by
from .queues import QueuedMessage, Queues
from .records import JobFilter, UnreadableJob, load_job
from .schedules import Schedules, jobs_at
from .server_info import Finding, HealthState, ServerInfo, check_server
from .sessions import RefreshStatus, Session, Sessions, TokenPair
from .store import Store
from .sweeper import Sweeper
from .task_leases import NewLease, SettleStatus, TaskLease, TaskLeases
from .traffic import TrafficRecords
from .webhooks import WebhookRecords
from .worker_record import WorkerRecord
from .worker_registry import WorkerRegistry
