"""The servers of one client: which one receives a request, and which one next if it is unavailable."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from secrets import token_urlsafe
from threading import Lock
from time import monotonic
from typing import Any, Self

from avtomatika import environment
from avtomatika.addresses import BROKER_SCHEMES, Address, Mode, parse_addresses
from avtomatika.errors import InvalidRequestError, NotFoundError, SettingsError, UnavailableError
from avtomatika.local_installation import VAR, announced

from .http import Endpoint, UnreachedError
from .steps import Request, Steps

#: An unavailable server receives requests again after this time.
_RECOVERY_SECONDS = 5.0
_ULID = re.compile("-[0-9A-Z]{26}")
_NO_SERVER = (
    "no API and no server found. Set AVTOMATIKA_URL and CLIENT_TOKEN (or --url and --token) to use the HTTP API, "
    "REDIS_URL to use the server directly, or start one here with:  avtomatika up"
)


class Endpoints:
    """The servers of a client, in order of preference. Threads may share them.

    Creations go to the first available server (FAILOVER) or to all in turn, by weight (ROUND_ROBIN); requests about a
    job to a server that has jobs of its group; all other requests to the first available server.
    """

    def __init__(
        self,
        servers: str | Sequence[str | Address],
        token: str | None,
        *,
        mode: Mode | str = Mode.FAILOVER,
        timeout: float | timedelta = 10.0,
    ) -> None:
        addresses = [
            each if isinstance(each, Address) else Address(each)
            for each in ([servers] if isinstance(servers, str) else servers)
        ]
        if not addresses:
            raise InvalidRequestError("a client needs the URL of at least one server")
        self._all = [_endpoint(each, each.token or token, timeout) for each in addresses]
        self._mode = Mode(mode)
        self._credits = dict.fromkeys(self._all, 0)
        self._unavailable_until: dict[Endpoint, float] = {}
        self._shards = defaultdict[Endpoint, set[str]](set)
        self._lock = Lock()

    @classmethod
    def from_environment(cls, token: str | None = None, *, timeout: float | timedelta = 10.0) -> Self:
        """Read ``ORCHESTRATORS_CONFIG`` and ``MULTI_ORCHESTRATOR_MODE``, else ``AVTOMATIKA_URL``, else use the
        ``avtomatika up`` of the working directory, else ``REDIS_URL``, else the local port. The token of an entry
        without one is *token*, by default ``CLIENT_TOKEN``. Raises SettingsError if an HTTP API has none,
        UnavailableError without any of them.
        """
        token = token or environment.secret("CLIENT_TOKEN")
        servers = environment.parsed("ORCHESTRATORS_CONFIG", parse_addresses)
        if not servers:
            url = environment.text("AVTOMATIKA_URL")
            if url is None and (here := announced()) is not None:
                own = VAR / "client_token"  # missing beside a clients.toml
                url, token = str(here["url"]), token or (own.read_text().strip() if own.exists() else None)
            url = url or environment.secret("REDIS_URL") or (local_url() if token else None)
            if url is None:
                raise UnavailableError(_NO_SERVER)
            servers = (Address(url),)
        missing = next((each for each in servers if each.is_web and not (each.token or token)), None)
        if missing is not None:
            raise SettingsError(f"{missing} requires a token: set CLIENT_TOKEN")
        mode = environment.choice("MULTI_ORCHESTRATOR_MODE", list(Mode)) or Mode.FAILOVER
        return cls(servers, token, mode=mode, timeout=timeout)

    def __str__(self) -> str:
        return ", ".join(repr(each.name) for each in self._all)

    def close(self) -> None:
        """Close the connections to brokers."""
        for each in self._all:
            each.close()

    def exchange(self, request: Request) -> Steps[Any]:
        """Send *request* to one server after the other until one is available, and return its response.

        Raises UnavailableError if no server is available, NotFoundError if all are and none has the job.
        """
        if request.is_creation and len(self._all) > 1:
            request = replace(request, headers={"Idempotency-Key": token_urlsafe(16), **request.headers})
        unavailable: UnavailableError | None = None
        missing: NotFoundError | None = None
        for endpoint in self._in_order(request):
            try:
                response = yield from endpoint.exchange(request)
            except UnavailableError as error:
                unavailable = error
                self._unavailable_until[endpoint] = monotonic() + _RECOVERY_SECONDS
                if not _is_repeatable(request, error):
                    raise
            except NotFoundError as error:
                if request.job_id is None or _shard(request.job_id) in self._shards[endpoint]:
                    raise
                missing = error
            else:
                self._succeeded(endpoint, request, response)
                return response
        raise unavailable or missing or NotFoundError("page", request.path)

    def _in_order(self, request: Request) -> list[Endpoint]:
        """Return the servers in the order in which they are tried: unavailable ones last."""
        if len(self._all) == 1:
            return self._all
        now = monotonic()
        shard = None if request.job_id is None else _shard(request.job_id)
        is_ready = {each: self._unavailable_until.get(each, 0.0) <= now for each in self._all}
        order = sorted(
            self._all, key=lambda each: (not is_ready[each], shard is not None and shard not in self._shards[each])
        )
        if self._mode is Mode.ROUND_ROBIN and request.is_creation:
            chosen = self._next_by_weight([each for each in order if is_ready[each]] or order)
            order.sort(key=lambda each: each is not chosen)
        return order

    def _next_by_weight(self, candidates: Sequence[Endpoint]) -> Endpoint:
        """Smooth weighted round robin: each candidate earns its weight, and the richest one pays for all."""
        with self._lock:
            for each in candidates:
                self._credits[each] += each.weight
            chosen = max(candidates, key=self._credits.__getitem__)
            self._credits[chosen] -= sum(each.weight for each in candidates)
        return chosen

    def _succeeded(self, endpoint: Endpoint, request: Request, response: Any) -> None:
        self._unavailable_until.pop(endpoint, None)
        created = response.headers.get("Location", "").rpartition("/")[2] if request.is_creation else ""
        job_id = request.job_id or created
        if job_id:
            self._shards[endpoint].add(_shard(job_id))


def _is_repeatable(request: Request, error: UnavailableError) -> bool:
    """Return whether the request may be sent to another server although this one may have executed it."""
    return request.method == "GET" or "Idempotency-Key" in request.headers or isinstance(error, UnreachedError)


def _shard(job_id: str) -> str:
    """Return the group of orchestrators that runs a job, or its shard: its id begins with that and a ULID."""
    return _ULID.split(job_id)[0]


def local_url() -> str:
    """Return the URL of the web process of this host."""
    return f"http://localhost:{environment.integer('API_PORT') or environment.integer('PORT') or 8080}"


def _endpoint(address: Address, token: str | None, timeout: float | timedelta) -> Endpoint:
    if address.scheme not in BROKER_SCHEMES:
        return Endpoint(address.url, token or "", weight=address.weight, timeout=timeout)
    from .direct import DirectEndpoint

    return DirectEndpoint(address, token, timeout=timeout)
