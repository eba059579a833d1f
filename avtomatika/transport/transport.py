"""kombu's transport: connects, waits for all channels at once and delivers their messages."""

import logging
import os
from operator import itemgetter
from time import monotonic, sleep
from typing import Any
from weakref import WeakSet

import redis
from kombu.exceptions import OperationalError
from kombu.transport import virtual
from redis.exceptions import ClusterCrossSlotError, ConnectionError, MovedError, NoPermissionError, ResponseError

from .channel import Channel as StreamChannel
from .connection.addresses import (
    CLUSTER_SCHEMES,
    SENTINEL_LOGIN,
    PrivateOptions,
    split_login,
    split_parameters,
    with_login,
)
from .connection.redis_client import WAIT, RedisClient, as_dict
from .consuming.event_loop import EventLoopConsumer
from .consuming.waiting import SlotWait
from .errors import CHANNEL_ERRORS, CONNECTION_ERRORS, is_wrong_type
from .keys import earliest
from .leases.lease_renewal import LeaseRenewer
from .leases.liveness import Liveness
from .options import Options

logger = logging.getLogger(__name__)

#: Longest single wait: timers are checked in between.
_WAIT_SECONDS = 1.0
#: The same while another channel has no credit, since nothing signals here when credit is freed.
_SHORT_WAIT_SECONDS = 0.05
_OLDEST_SERVER = (7, 0)


class Transport(virtual.Transport):
    """kombu on Redis Streams. Requires Redis >= 7 or Valkey. On a cluster all queues of a prefix are in one slot."""

    Channel = StreamChannel
    can_parse_url = True
    default_port = 6379
    polling_interval = None
    driver_type = "redis"
    driver_name = "redis"
    connection_errors = CONNECTION_ERRORS
    channel_errors = CHANNEL_ERRORS
    recoverable_connection_errors = CONNECTION_ERRORS
    recoverable_channel_errors = ()
    implements = virtual.Transport.implements.extend(
        asynchronous=True,
        batch_publish=True,
        exchange_type=frozenset(["direct", "topic", "fanout"]),
        heartbeats=False,
    )

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self._url = _url_of(client)
        self.options = Options.read(client.transport_options.complete)
        self._tls = client.ssl
        self._credential_provider = client.credential_provider
        self.server: RedisClient = self.options.server or self._connect()
        self.lease_renewer = LeaseRenewer(self._connect_lease_renewer, lease_seconds=self.options.lease_seconds)
        #: Exchanges declared on this connection: name -> type.
        self.exchanges: dict[str, str] = {}
        self._turn = 0
        self._event_loop: EventLoopConsumer | None = None
        self._slot_wait: SlotWait | None = None
        _transports.add(self)

    def driver_version(self) -> str:
        return str(redis.__version__)

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:
        """Return *uri*, kombu's ``Connection.hostname``, with the credentials that the connection keeps
        separately."""
        address, _, _ = uri.partition("?")
        login = self.client.userid, self.client.password
        if include_password:
            return with_login(uri, *login)
        return with_login(address, login[0], login[1] and mask)

    # ------------------------------------------------------------ connect

    def establish_connection(self) -> "Transport":
        if _may_be_clustered(self.server) and not self._url.startswith(CLUSTER_SCHEMES):
            _check_ownership(self.server)
        super().establish_connection()
        return self

    def close_connection(self, connection: object) -> None:
        super().close_connection(connection)
        self._stop_waiting()
        self.lease_renewer.stop()
        if self.server is not self.options.server:
            self.server.close()

    def _collect(self, connection: object) -> None:
        """Close without contacting the server: kombu calls this for a lost connection."""
        self.cycle.close()
        self._stop_waiting()
        for channel in (*self._avail_channels, *self.channels):
            channel.abandon()
        self.lease_renewer.stop_when_idle()
        self.server.close()

    def _stop_waiting(self) -> None:
        for each in (self._event_loop, self._slot_wait):
            if each is not None:
                each.close()
        self._event_loop = self._slot_wait = None

    def forget_channel(self, channel: StreamChannel) -> None:
        """Deliver no more messages to *channel*, which is closing."""
        if self._event_loop is not None:
            self._event_loop.forget(channel)

    def _connect(self, **settings: Any) -> RedisClient:
        options = self.options
        return self._connect_within(self._url, options.socket_timeout, options.socket_connect_timeout, **settings)

    def _connect_to_wait(self) -> RedisClient:
        """Connect for blocking reads, of which a channel has one for each slot."""
        return self._connect(max_connections=self.options.max_connections * len(self.options.all_prefixes))

    def _connect_lease_renewer(self, liveness: Liveness) -> RedisClient:
        """Connect with a timeout shorter than the lease. RESP3 allows a subscribed connection to send other
        commands."""
        limit = min(self.options.socket_timeout, self.options.lease_seconds / 3)
        url, _ = split_parameters(self._url, WAIT.__eq__)  # a lease matters to the primary alone
        return self._connect_within(url, limit, limit, protocol=3, redis_connect_func=liveness.connected)

    def _connect_within(self, url: str, timeout_seconds: float, connect_seconds: float, **settings: Any) -> RedisClient:
        return RedisClient.connect(
            url,
            tls=self._tls,
            credential_provider=self._credential_provider,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=connect_seconds,
            prefixes=self.options.all_prefixes,
            **{"max_connections": self.options.max_connections, **self.options.connection, **settings},
        )

    # ------------------------------------------------------------ consume

    def register_with_event_loop(self, connection: object, loop: Any) -> None:
        """Deliver messages from within *loop*, kombu's hub."""
        if self._event_loop is not None:
            self._event_loop.close()
        self._event_loop = EventLoopConsumer(
            self, loop, server=self._connect_to_wait(), timeout_seconds=self.options.socket_timeout
        )

    def drain_events(self, connection: object, timeout: float | None = None) -> None:
        """Deliver at least one message; raise socket.timeout if none arrives within *timeout* seconds."""
        deadline = None if timeout is None else monotonic() + timeout
        if not timeout and deadline is not None:  # without waiting, nothing reports new messages
            for channel in self.channels:
                channel.prefetch_buffer.forget_positions()
        while True:
            channels = [channel for channel in self.channels if channel.is_consuming]
            for channel in channels:
                channel.qos.credit_freed.clear()
            if self.deliver_all(channels):
                return
            left = _WAIT_SECONDS if deadline is None else deadline - monotonic()
            if left <= 0:
                raise TimeoutError("no message came")
            self._wait(channels, min(left, _WAIT_SECONDS, self.options.socket_timeout / 2))

    def deliver_all(self, channels: list[StreamChannel]) -> int:
        """Deliver one batch for each channel with credit, rotating which channel is first."""
        self._turn += 1
        turn = self._turn % len(channels) if channels else 0
        return sum(channel._get_many(()) for channel in (*channels[turn:], *channels[:turn]))

    def _wait(self, channels: list[StreamChannel], seconds: float) -> None:
        """Wait up to *seconds* for new messages or until timed work is due."""
        able = [channel for channel in channels if channel.has_credit]
        if not able:
            if channels:
                is_told = len(channels) == 1 and not channels[0].qos.is_credit_overridden
                channels[0].qos.credit_freed.wait(seconds if is_told else min(seconds, _SHORT_WAIT_SECONDS))
            else:
                sleep(seconds)
            return
        if len(able) < len(channels):
            seconds = min(seconds, _SHORT_WAIT_SECONDS)
        positions = [channel.prefetch_buffer.positions for channel in able]
        if all(positions):
            seconds = min(seconds, *[channel.prefetch_buffer.seconds_until_due for channel in able])
            streams = self._await_news(earliest(positions), seconds)
            for channel in able:
                channel.prefetch_buffer.notify(streams)

    def _await_news(self, positions: dict[str, str], seconds: float) -> set[str]:
        """Return the streams that receive entries after their position within *seconds*."""
        wait = ("BLOCK", max(round(seconds * 1000), 1))
        try:
            if len(self.server.by_slot(positions)) > 1:
                if self._slot_wait is None:
                    self._slot_wait = SlotWait(self._connect_to_wait(), self.options.socket_timeout)
                return self._slot_wait.wait(positions, seconds)
            news = self.server.execute(("XREAD", "COUNT", 1, *wait, "STREAMS", *positions, *positions.values()))
        except CONNECTION_ERRORS:
            for channel in self.channels:
                channel.prefetch_buffer.resynchronize()
            raise
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            return set(positions)  # the next take finds out which stream it is
        return {stream.decode() for stream in (news if isinstance(news, dict) else map(itemgetter(0), news or ()))}

    def after_fork(self) -> None:
        self.lease_renewer.forget()
        self._event_loop = self._slot_wait = None  # they belong to the parent
        for channel in self.channels:
            channel.after_fork()


_transports: WeakSet[Transport] = WeakSet()


def _renew_all() -> None:
    for transport in list(_transports):
        transport.after_fork()


os.register_at_fork(after_in_child=_renew_all)


def _url_of(client: Any) -> str:
    """Return the server's URL from a kombu connection, given as a URL or in parts.

    Moves credentials to the connection's ``userid`` and ``password``, and those for sentinels to hidden options:
    ``Connection.info()``, and so ``celery inspect stats``, shows address and options.
    """
    client.transport_options = PrivateOptions(client.transport_options, {})
    for place, url in enumerate(client.alt):
        client.alt[place] = _move_login(client, url)
    if "://" in (client.hostname or ""):
        client.hostname = _move_login(client, client.hostname)
        is_sentinel = client.alt and client.alt[0].startswith("sentinel:")  # otherwise failover addresses
        address = ";".join(client.alt) if is_sentinel else client.hostname
    else:
        database = str(client.virtual_host or "0").strip("/") or "0"
        address = f"redis://{client.hostname or 'localhost'}:{client.port or Transport.default_port}/{database}"
    return with_login(address, client.userid, client.password)


def _move_login(client: Any, url: str) -> str:
    address, login = split_login(url)
    if any(login):
        client.userid, client.password = login.username or None, login.password or None
    address, found = split_parameters(address, SENTINEL_LOGIN.__contains__)
    options = client.transport_options
    options.hidden = {SENTINEL_LOGIN[name]: value for name, value in found.items()} | options.hidden
    return address


def _may_be_clustered(server: RedisClient) -> bool:
    """Return False if the server is not a node of a cluster. Raises OperationalError if its version is not
    supported."""
    try:
        answer = server.execute(("HELLO",))
    except NoPermissionError as error:
        logger.info("cannot check the server's version: %s", error)
        return True
    except ResponseError as error:
        raise OperationalError(
            f"the server does not support HELLO: Redis >= 7 or Valkey is required ({error})"
        ) from error
    facts = {name.decode(): value.decode() for name, value in as_dict(answer).items() if isinstance(value, bytes)}
    version = tuple(int(part) for part in facts.get("version", "0.0").split(".")[:2])
    if version < _OLDEST_SERVER:
        raise OperationalError(f"the server is version {facts.get('version')}: Redis >= 7 or Valkey is required")
    return facts.get("mode") == "cluster"


def _check_ownership(server: RedisClient) -> None:
    """Raise OperationalError for a node of a cluster that does not own all our keys, or on which they are in several
    slots."""
    try:
        server.execute(("EXISTS", *(f"{prefix}identity" for prefix in server.prefixes)))
    except (ConnectionError, ClusterCrossSlotError) as error:
        cause = error.__cause__ if isinstance(error, ConnectionError) else error
        if not isinstance(cause, MovedError | ClusterCrossSlotError):
            raise
        raise OperationalError(
            f"the server is a node of a cluster, which must be addressed by redis+cluster:// ({cause})"
        ) from error
    except ResponseError as error:
        logger.info("cannot check whether the server owns the keys: %s", error)
