"""Clients and workers, and the tokens by which they authenticate.

Files are reloaded when they change; one that is missing, empty or invalid leaves the last good version in effect. Only
hashes of tokens are kept, and messages never contain them.
"""

from .clients import OPERATOR, ClientAccount, Clients, token_fingerprint
from .hashing import SHORTEST_TOKEN, hash_token, new_token
from .reloading_toml import CHECK_INTERVAL_SECONDS, SETTLE_SECONDS
from .workers import RevokedNames, WorkerAccess, Workers
