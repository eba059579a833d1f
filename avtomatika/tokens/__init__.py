"""Who may come in: clients and workers, and their tokens.

Files are read again when they change; one that does not parse leaves what was known in force. Only hashes of tokens are
kept, and nothing here ever shows one.
"""

from .clients import OPERATOR, Client, Clients
from .hashing import hash_token, new_token
from .watched import CHECK_INTERVAL_SECONDS
from .workers import Memory, WorkerAccess, Workers

__all__ = [
    "CHECK_INTERVAL_SECONDS",
    "OPERATOR",
    "Client",
    "Clients",
    "Memory",
    "WorkerAccess",
    "Workers",
    "hash_token",
    "new_token",
]
