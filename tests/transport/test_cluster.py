"""A cluster: the owner of the slot is found, and followed when it changes."""

from __future__ import annotations

import os
import signal
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError

from avtomatika import broker
from avtomatika.core.shards import shard_prefixes
from avtomatika.transport import Reading, RedisClient, connect, info_fields
from avtomatika.transport.keys import PREFIX
from avtomatika.transport.scripts import Call, Script

from ..support.certificates import make_certificates
from ..support.cluster import Cluster
from ..support.servers import IS_CLUSTER
from ..support.tcp_proxy import TcpProxy
from ..support.waiting import wait_until

pytestmark = pytest.mark.skipif(IS_CLUSTER, reason="its servers form clusters of their own")
PREFIXES = shard_prefixes("g0", 16)
Move = Callable[[Cluster, str, Any], None]
QUEUE = Queue("photos", Exchange("media"), routing_key="photo")


@pytest.fixture
def cluster(make_server: Callable[..., Any]) -> Cluster:
    return Cluster(make_server, primaries=3)


def test_messages_are_kept_by_the_owner_of_the_slot(cluster: Cluster) -> None:
    with broker.connect(cluster.url) as connection, connection.Producer() as producer:
        producer.publish({"file": "a.jpg"}, exchange="media", routing_key="photo", declare=[QUEUE])
        received = QUEUE(connection.default_channel).get(no_ack=True)

    assert received.payload == {"file": "a.jpg"}
    with redis.Redis.from_url(cluster.owner_of(PREFIX).url) as owner:
        assert owner.exists(f"{PREFIX}q:photos:0")


def test_any_seed_that_answers_is_enough(cluster: Cluster) -> None:
    url = f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster.nodes[2].port}"

    with connect(url) as client:
        assert client.info("server")["tcp_port"] == cluster.owner_of(PREFIX).port


def test_a_client_follows_a_slot_that_moved(cluster: Cluster) -> None:
    server = RedisClient.connect(cluster.url)
    server.execute(("SET", f"{PREFIX}kept", "1"))
    target = cluster.other_primary(PREFIX)

    cluster.migrate(PREFIX, target)
    with pytest.raises(redis.ConnectionError, match="not the primary of these keys any more"):
        server.execute(("GET", f"{PREFIX}kept"))

    assert server.execute(("GET", f"{PREFIX}kept")) == b"1"
    assert cluster.owner_of(PREFIX) is target
    server.close()


@pytest.fixture
def shards(cluster: Cluster) -> Iterator[RedisClient]:
    client = RedisClient.connect(cluster.url, prefixes=PREFIXES)
    yield client
    client.close()


def test_each_command_is_sent_to_the_owner_of_its_key(cluster: Cluster, shards: RedisClient) -> None:
    count = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])", "")

    assert shards.execute_all([("SET", f"{prefix}n", place) for place, prefix in enumerate(PREFIXES)]) == [b"OK"] * 16
    assert shards.run_all([Call(count, [f"{prefix}n"], [100]) for prefix in PREFIXES]) == list(range(100, 116))
    home, first, wrong, *others = shards.pipeline(
        [
            ("INFO", "server"),
            ("GET", f"{PREFIXES[9]}n"),
            ("HGET", f"{PREFIXES[1]}n", "a"),
            ("XREAD", "COUNT", 1, "STREAMS", f"{PREFIXES[5]}none", 0),
            *[("GET", f"{prefix}n") for prefix in PREFIXES],
        ]
    )

    assert info_fields(home)["tcp_port"] == str(cluster.owner_of(PREFIXES[0]).port)
    assert info_fields(shards.at(PREFIXES[7]).execute(("INFO",)))["tcp_port"] == str(cluster.owner_of(PREFIXES[7]).port)
    assert (first, others) == (b"109", [None, *[b"%d" % number for number in range(100, 116)]])
    assert isinstance(wrong, redis.ResponseError)
    for prefix in PREFIXES:
        with redis.Redis.from_url(cluster.owner_of(prefix).url) as owner:
            assert owner.exists(f"{prefix}n")
    assert shards.connections == 3


def test_readings_of_all_shards_take_one_round_trip(shards: RedisClient) -> None:
    def read(prefix: str) -> Reading[bytes]:
        [name] = yield [("GET", f"{prefix}name")]
        [found] = yield [("ECHO", name)]
        return found

    shards.execute_all([("SET", f"{prefix}name", prefix) for prefix in PREFIXES])
    sent: list[int] = []
    run_all = shards.run_all
    shards.run_all = lambda calls, **options: sent.append(len(calls)) or run_all(calls, **options)  # type: ignore[method-assign, func-returns-value]

    assert shards.read_together(*map(read, PREFIXES)) == [prefix.encode() for prefix in PREFIXES]
    assert sent == [16, 16]


@pytest.mark.parametrize("move", [Cluster.migrate, Cluster.migrate_at_once])
def test_writes_are_counted_once_while_a_slot_moves(cluster: Cluster, shards: RedisClient, move: Move) -> None:
    moving, *others = PREFIXES
    shards.execute_all([("SET", f"{prefix}{name}", 0) for prefix in PREFIXES for name in "abcdefgh"])
    done, failed = Counter[str](), Counter[str]()
    is_over = threading.Event()

    def use(prefixes: Sequence[str]) -> None:
        while not is_over.is_set():
            try:
                shards.execute_all([("INCR", f"{prefix}a") for prefix in prefixes])
                done.update(prefixes)
            except redis.ConnectionError:
                failed.update(prefixes)

    users = [threading.Thread(target=use, args=(each,)) for each in ([moving], others)]
    for user in users:
        user.start()
    wait_until(lambda: done[moving], 10, "the slot is in use")
    move(cluster, moving, cluster.other_primary(moving))
    before = done[moving]
    wait_until(lambda: done[moving] > before, 10, "the new owner is found")
    is_over.set()
    for user in users:
        user.join()

    assert set(failed) <= {moving}
    for prefix, number in zip(PREFIXES, shards.execute_all([("GET", f"{each}a") for each in PREFIXES]), strict=True):
        assert done[prefix] <= int(number) <= done[prefix] + failed[prefix]


def test_confirmed_writes_survive_the_death_of_an_owner(make_server: Callable[..., Any]) -> None:
    cluster = Cluster(make_server, primaries=3, has_replicas=True)
    client = RedisClient.connect(f"{cluster.url}?wait_replicas=1", prefixes=PREFIXES)
    victim = cluster.owner_of(PREFIX)
    count = Script("return redis.call('INCR', KEYS[1])", "")
    calls = [Call(count, [f"{prefix}n"], []) for prefix in PREFIXES]

    def run() -> list[Any]:
        try:
            return client.run_all(calls)
        except redis.ConnectionError:
            return []

    assert run() == [1] * 16
    victim.kill()
    assert run() == []
    wait_until(lambda: cluster.owner_of(PREFIX) is not victim, 60, "its replica takes over")
    assert min(int(client.execute(("GET", f"{prefix}n"))) for prefix in PREFIXES) >= 1
    victim.start()
    wait_until(lambda: min(run(), default=0) >= 2, 60, "the old owner is a replica")
    client.close()


def test_an_owner_that_hangs_is_replaced(make_server: Callable[..., Any]) -> None:
    cluster = Cluster(make_server, primaries=3, has_replicas=True)
    client = RedisClient.connect(cluster.url, prefixes=PREFIXES, socket_timeout=1.0, socket_connect_timeout=1.0)
    client.execute_all([("SET", f"{prefix}n", 0) for prefix in PREFIXES])
    pid = cluster.owner_of(PREFIX).pid

    def is_served() -> bool:
        try:
            return client.execute_all([("SET", f"{prefix}n", 1) for prefix in PREFIXES]) == [b"OK"] * 16
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    os.kill(pid, signal.SIGSTOP)
    try:
        assert not is_served()
        wait_until(is_served, 60, "its replica is found")
    finally:
        os.kill(pid, signal.SIGCONT)
    client.close()


@pytest.mark.parametrize("shards", [1, 3])
def test_a_node_is_not_taken_for_a_single_server(cluster: Cluster, shards: int) -> None:
    node = cluster.other_primary(PREFIX) if shards == 1 else cluster.owner_of(PREFIX)
    with (
        broker.connect(node.url, prefixes=PREFIXES[:shards]) as connection,
        pytest.raises(OperationalError, match=r"redis\+cluster://"),
    ):
        connection.connect()


@pytest.mark.parametrize(
    ("url", "prefix", "reason"),
    [
        ("cluster://localhost", "shop:", "must contain a hash tag, .*not 'shop:'"),
        ("cluster://localhost", "{}:", "must contain a hash tag"),
        ("cluster://localhost/1", PREFIX, "only database 0"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused(url: str, prefix: str, reason: str) -> None:
    with (
        Connection(
            url, transport="avtomatika.transport:Transport", transport_options={"global_keyprefix": prefix}
        ) as connection,
        pytest.raises(ValueError, match=reason),
    ):
        connection.connect()


def test_nodes_are_reached_by_tls_as_a_user(make_server: Callable[..., Any], tmp_path: Path) -> None:
    server, folder = make_server(**{"cluster-enabled": "yes"}), make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "host.pem", folder / "host.key")
    with redis.Redis.from_url(server.url) as admin, TcpProxy(server.port, tls=context) as proxy:
        admin.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        admin.config_set("cluster-announce-port", proxy.port)
        admin.config_set("cluster-announce-hostname", "localhost")
        admin.config_set("cluster-preferred-endpoint-type", "hostname")
        admin.execute_command("ACL", "SETUSER", "shop", "on", ">pw", "~{avt.g0}:*", "+@all", "-@admin", "-@dangerous")
        wait_until(lambda: admin.execute_command("CLUSTER INFO")["cluster_state"] == "ok", 10, "the slots are served")
        url = f"rediss+cluster://shop:pw@localhost:{proxy.port}?ssl_ca_certs={folder / 'ca.pem'}"

        with broker.connect(url) as connection:
            broker.declare_tasks(connection, ["encode"])
        with pytest.raises(redis.ConnectionError), connect(url.replace("localhost", "127.0.0.1")) as client:
            client.ping()

        assert admin.hexists(f"{PREFIX}queues", "encode")


def test_an_unreachable_cluster_is_named_without_its_password() -> None:
    client = RedisClient.connect("redis+cluster://me:secret@127.0.0.1:1,127.0.0.1:2")

    with pytest.raises(redis.ConnectionError) as raised:
        client.execute(("PING",))

    assert str(raised.value).startswith("no node of the cluster 127.0.0.1:1, 127.0.0.1:2 names an owner of slot")
