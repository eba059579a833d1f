"""The application's interface to the broker: connecting, declaring, consuming and acknowledging."""

from avtomatika.transport import Outgoing
from avtomatika.transport.options import LEASE_SECONDS

from .connection import connect, for_shards, identity, redacted_url
from .consumer import Consumer, Delivery
from .requests import read_tasks
from .topology import (
    TAKEN,
    StepQueue,
    StepQueues,
    declare,
    declare_control,
    declare_tasks,
    forget_control,
    worker_queue,
)
from .topology_diff import QueueChange, TopologyDiff, diff_topology, remove_queues
from .worker_messages import (
    control_message,
    dead_letter_headers,
    forwarded_headers,
    heartbeat,
    notice,
    registration,
    reply_key,
    result_message,
    task_started,
    tasks_started,
)
