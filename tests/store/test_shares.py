"""Limits over all shards of an installation, on one server, while tasks come to changing shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Event, Thread
from typing import Any

import orjson
import pytest
import redis
from kombu import Connection, Consumer, Exchange, Queue

from avtomatika.core.limits import LimitValues
from avtomatika.core.shards import shard_prefixes
from avtomatika.errors import UnavailableError
from avtomatika.store import Limits, shares as module
from avtomatika.transport import RedisClient, Router

from ..support.cluster import Cluster
from ..support.scale import SCALE, chance
from ..support.servers import IS_CLUSTER, OwnServer
from ..support.waiting import wait_until

pytestmark = pytest.mark.skipif(IS_CLUSTER, reason="looks at several slots at one moment")

SHARDS = 4
PREFIXES = shard_prefixes("g0", SHARDS)
ONE, THREE, FIVE = ({"concurrency": most} for most in (1, 3, 5))


class Killed(Exception):
    """A mover that is killed."""


class MortalClient(RedisClient):
    """Is killed after *left* scripts, those sent before it in the same round trip included."""

    left = 1_000_000

    def run_each(self, calls: Any) -> list[Any]:
        answers = super().run_each(calls[: self.left])
        if len(answers) < len(calls):
            raise Killed
        self.left -= len(calls)
        return answers


class Town:
    """A fair queue in each shard, its consumers, and what holds slots of limits at one moment."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.url, self.stack = url, stack
        self.redis = stack.enter_context(redis.Redis.from_url(url))
        self.clients: list[MortalClient] = []
        self.limits = self.mover()
        self.limits.move_shares()
        queue = Queue("encode", Exchange("work"), routing_key="encode", queue_arguments={"x-fair": True})
        self.channels = []
        for prefix in PREFIXES:
            options = {"global_keyprefix": prefix, "sweep_interval_seconds": 0.2}
            connection = stack.enter_context(
                Connection(url, transport="avtomatika.transport:Transport", transport_options=options)
            )
            queue(connection.default_channel).declare()
            self.channels.append(connection)
        self.running: list[list[Any]] = [[] for _ in PREFIXES]
        for place, connection in enumerate(self.channels):
            consumer = Consumer(
                connection, [queue], on_message=self.running[place].append, accept=["json"], prefetch_count=1000
            )
            consumer.consume()

    def mover(self) -> Limits:
        self.clients.append(MortalClient.connect(self.url, prefixes=PREFIXES))
        return Limits(self.clients[-1], Router(self.clients[-1]))

    def publish(self, place: int, *bodies: Any, limits: Any = (), key: str = "") -> None:
        headers = {"x-flow": {"key": key, "limits": limits}}
        with self.channels[place].Producer() as producer:
            for body in bodies:
                producer.publish(body, exchange="work", routing_key="encode", headers=headers)

    def take(self) -> list[int]:
        """Take what may start; return how many run in each shard."""
        for connection in self.channels:
            try:
                while True:
                    connection.drain_events(timeout=0.01)
            except TimeoutError:
                pass
        return [len(each) for each in self.running]

    def take_until(self, running: int, *, move: bool = True) -> list[int]:
        def take() -> list[int]:
            if move:
                self.move()
            found = self.take()
            return found if sum(found) == running else []

        return wait_until(take, what=f"{running} run")

    def notice(self, name: str, waiting: int) -> None:
        """Take until *waiting* messages are known to wait for a limit."""
        wait_until(lambda: self.take() and self.limits.find(name).waiting == waiting, what=f"{waiting} wait")

    def finish(self, place: int, count: int = 1000) -> int:
        done, self.running[place][:] = self.running[place][:count], self.running[place][count:]
        for message in done:
            message.ack()
        return len(done)

    def move(self, *movers: Limits) -> None:
        """Move shares, however short ago it was done."""
        for each in movers or (self.limits,):
            self.redis.delete(f"{PREFIXES[0]}claim:shares")
            each.move_shares()

    def entries(self, name: str) -> list[dict[str, Any]]:
        found = self.redis.pipeline()
        for prefix in PREFIXES:
            found.hget(f"{prefix}flow:limits", name)
        return [orjson.loads(each or b"{}") for each in found.execute()]

    def used(self, *names: str) -> dict[str, int]:
        """For each limit, the sum over shards of what runs or may start at once, at one moment."""
        pipe = self.redis.pipeline(transaction=True)
        for name in names:
            for prefix in PREFIXES:
                pipe.hget(f"{prefix}flow:limits", name)
                pipe.zlexcount(f"{prefix}flow:holders", f"[{name}\0", f"({name}\1")
        replies, used = iter(pipe.execute()), Counter[str]()
        for name in names:
            for _ in range(SHARDS):
                entry, running = orjson.loads(next(replies) or b"{}"), next(replies)
                used[name] += max(entry.get("concurrency", 0), running)
        return dict(used)

    @property
    def left(self) -> list[str]:
        """Keys of flow control that stay."""
        kept = ("flow:mover", "flow:rates", "flow:limits" if self.limits.all() else "-")
        return [key.decode() for key in self.redis.keys("*flow:*") if not key.decode().endswith(kept)]


#: Limits of messages in the storm.
TOTALS = {"key:a": ONE, "key:b": THREE, "key:c": FIVE}


@pytest.fixture
def town(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    monkeypatch.setattr(module, "_ACTIVE_SECONDS", 0.0)
    with ExitStack() as stack:
        town = Town(redis_url, stack)
        yield town
        for client in town.clients:
            client.close()


def test_a_limit_holds_over_all_shards_and_goes_to_where_tasks_wait(town: Town) -> None:
    town.limits.put("skill:encode", LimitValues.of(3))
    town.publish(2, *range(10))
    two = town.take_until(3)
    town.publish(0, *range(10))
    town.notice("skill:encode", 17)
    town.move()
    town.finish(2)
    both = town.take_until(3)
    [limit] = town.limits.all().values()

    assert (two, sorted(both)) == ([0, 0, 3, 0], [0, 0, 1, 2])
    assert (limit.concurrency, limit.running, limit.waiting, limit.source) == (3, 3, 14, "api")
    assert len(limit.holders) == 3


def test_a_new_limit_counts_what_runs_in_other_shards(town: Town) -> None:
    for place in range(SHARDS):
        town.publish(place, 1, 2)
    town.take_until(8, move=False)
    for place in range(SHARDS):
        town.publish(place, 3)
    town.limits.put("skill:encode", LimitValues.of(7))
    town.move()
    full = town.take()
    town.finish(1)
    town.take_until(7)

    assert full == [2, 2, 2, 2]
    assert town.limits.find("skill:encode").running == 7


def test_a_lower_limit_lets_nothing_start_before_enough_has_ended(town: Town) -> None:
    town.limits.put("skill:encode", LimitValues.of(6))
    for place in range(SHARDS):
        town.publish(place, *range(6))
    town.take_until(6)
    town.limits.put("skill:encode", LimitValues.of(2))
    for _ in range(4):
        town.move()
        town.finish(next(place for place in range(SHARDS) if town.running[place]), 1)
        left = sum(town.take())
    town.finish(next(place for place in range(SHARDS) if town.running[place]), 1)
    town.take_until(2)

    assert left == 2


def test_limits_in_messages_wait_for_their_share_and_leave_nothing(town: Town) -> None:
    for place in range(SHARDS):
        town.publish(place, 1, 2, limits=[["key:a", ONE], ["key:b", THREE]])
    for _ in range(2 * SHARDS):
        running = town.take_until(1)
        found = town.limits.find("key:a")
        assert (found.concurrency, found.running) == (1, 1)
        town.finish(running.index(1))
    for _ in range(3):
        town.move()
        town.take()

    assert [each for name in TOTALS for each in town.entries(name) if each] == []
    assert town.left == []


def test_a_pause_holds_in_every_shard_also_one_that_is_added(town: Town) -> None:
    town.limits.put("key:a", LimitValues.of(8))
    town.limits.set_paused("key:a", "anna")
    for place in range(SHARDS):
        town.publish(place, 1, limits=[["key:a", ONE]])
    paused = town.take()
    town.redis.hdel(f"{PREFIXES[3]}flow:limits", "key:a")
    town.move()
    still = [each.get("paused") for each in town.entries("key:a")]
    town.limits.set_paused("key:a")
    town.take_until(4)

    assert (paused, still) == ([0] * SHARDS, ["anna"] * SHARDS)


def test_a_removed_limit_gives_way_to_that_of_messages(town: Town) -> None:
    town.limits.put("key:b", LimitValues.of(6))
    for place in range(SHARDS):
        town.publish(place, 1, 2, 3, limits=[["key:b", THREE]])
    town.take_until(6)
    town.limits.remove("key:b")
    for _ in range(3):
        town.move()
    same = sum(town.take())
    while sum(town.take()) > 2:
        town.finish(next(place for place in range(SHARDS) if town.running[place]), 1)
    town.take_until(3)

    assert same == 6
    assert town.limits.find("key:b").concurrency == 3


def test_a_limit_of_one_shard_is_shared_when_others_are_added(town: Town) -> None:
    one = RedisClient.connect(town.url, prefixes=PREFIXES[:1])
    Limits(one, Router(one)).put("skill:encode", LimitValues.of(4, "100/m"))
    one.close()
    town.move()
    shares = [each["concurrency"] for each in town.entries("skill:encode")]

    assert sum(shares) == 4
    assert town.limits.find("skill:encode").rate == 100


def test_what_a_killed_mover_leaves_is_finished_by_another(town: Town) -> None:
    town.limits.put("skill:encode", LimitValues.of(4))
    town.publish(1, *range(9))
    town.notice("skill:encode", 8)
    town.clients[0].left = 4
    with pytest.raises(Killed):
        town.move()
    lowered = [each["concurrency"] for each in town.entries("skill:encode")]
    other = town.mover()
    town.move(other)

    assert lowered == [0, 1, 0, 0]
    assert [each["concurrency"] for each in town.entries("skill:encode")] == [0, 4, 0, 0]


def test_a_mover_that_stalled_changes_nothing(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.limits.put("skill:encode", LimitValues.of(4))
    town.publish(1, *range(9))
    town.notice("skill:encode", 8)
    stalled, other = town.mover(), town.mover()
    mover = stalled._shares
    assert mover is not None
    real, calls = type(mover)._change, []

    def change(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:  # between its steps
            town.publish(2, *range(9))
            town.notice("skill:encode", 17)
            town.move(other)
        return real(mover, *args)

    monkeypatch.setattr(mover, "_change", change, raising=False)
    town.move(stalled)

    assert len(calls) == 2
    assert [each["concurrency"] for each in town.entries("skill:encode")] == [0, 2, 2, 0]


def test_only_one_orchestrator_moves_in_an_interval(town: Town) -> None:
    town.limits.put("skill:encode", LimitValues.of(4))
    town.publish(1, *range(9))
    town.notice("skill:encode", 8)
    town.redis.set(f"{PREFIXES[0]}claim:shares", 1)
    town.limits.move_shares()

    assert [each["concurrency"] for each in town.entries("skill:encode")] == [1] * SHARDS


def test_a_process_that_knows_fewer_shards_moves_nothing(town: Town) -> None:
    town.limits.put("skill:encode", LimitValues.of(4))
    town.redis.hset(f"{PREFIXES[0]}shards", "8", 1)
    town.publish(1, *range(9))
    town.notice("skill:encode", 8)
    town.move()
    with pytest.raises(UnavailableError, match="larger AVTOMATIKA_SHARDS"):
        town.limits.put("skill:encode", LimitValues.of(9))

    assert [each["concurrency"] for each in town.entries("skill:encode")] == [1] * SHARDS


def test_a_rate_holds_over_all_shards(town: Town) -> None:
    town.limits.put("skill:encode", LimitValues.of(None, "40/s"))
    seconds = 4
    for place in range(SHARDS):
        town.publish(place, *range(200))

    def now() -> float:
        whole, parts = town.redis.time()
        return float(whole + parts / 1e6)

    began = now()
    while now() < began + seconds:
        town.move()
        town.take()
        took, started = now() - began, sum(map(len, town.running))
        assert started <= 1.1 * 40 * took + SHARDS, took


def test_shares_are_moved_between_the_primaries_of_a_cluster(make_server: Callable[..., OwnServer]) -> None:
    cluster = Cluster(make_server, primaries=3)
    server = RedisClient.connect(cluster.url, prefixes=PREFIXES)
    limits = Limits(server, Router(server))
    entries = [("HGET", f"{prefix}flow:limits", "skill:encode") for prefix in PREFIXES]
    limits.put("skill:encode", LimitValues.of(4, "400/m"))
    server.execute(("HSET", f"{PREFIXES[3]}flow:limits", "skill:encode", orjson.dumps({"source": "api", "total": {}})))
    limits.move_shares()
    limits.set_paused("skill:encode", "anna")
    found, shares = limits.find("skill:encode"), [orjson.loads(each) for each in server.execute_all(entries)]
    limits.set_paused("skill:encode")
    limits.remove("skill:encode")
    left, listed = server.execute_all(entries), limits.all()
    server.close()

    assert len({cluster.owner_of(prefix).port for prefix in PREFIXES}) == 3
    assert (found.concurrency, found.rate, found.paused_by) == (4, 400, "anna")
    assert sum(each["concurrency"] for each in shares) == 4
    assert sum(each["rate"] for each in shares) == 400
    assert (left, listed) == ([None] * SHARDS, {})


@contextmanager
def watched(town: Town, problems: list[Any]) -> Iterator[None]:
    """Look again and again at all shards, each time at one moment."""
    stop = Event()

    def watch() -> None:
        while not stop.wait(0.002):
            used = town.used(*TOTALS, "skill:encode")
            if any(used[name] > total["concurrency"] for name, total in TOTALS.items()) or used["skill:encode"] > 6:
                problems.append(used)

    thread = Thread(target=watch)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_limits_are_never_exceeded_while_movers_are_killed(town: Town) -> None:
    random, problems, stop = chance("shares"), list[Any](), Event()
    town.limits.put("skill:encode", LimitValues.of(6))

    def move(limits: Limits, client: MortalClient, seed: str) -> None:
        dice = chance(seed)
        while not stop.wait(0.01 * dice.random()):
            client.left = dice.choice([dice.randint(1, 40), 1_000_000])
            with suppress(Killed):
                town.move(limits)

    movers = [Thread(target=move, args=(town.mover(), town.clients[-1], f"mover {number}")) for number in range(2)]
    with watched(town, problems):
        for thread in movers:
            thread.start()
        left = sent = 0
        for turn in range(60 * SCALE):
            if sent < 60 * SCALE:
                for _ in range(4):
                    names = random.sample(sorted(TOTALS), random.randint(0, 2))
                    town.publish(
                        random.randrange(SHARDS),
                        sent,
                        limits=[[name, TOTALS[name]] for name in names],
                        key=str(sent % 3),
                    )
                    sent += 1
                    left += 1
            if turn % 10 == 5:
                town.limits.set_paused("key:b", "anna" if turn % 20 == 5 else "")
            if turn % 10 == 7:
                town.limits.put("skill:encode", LimitValues.of(random.randint(1, 6)))
            town.take()
            left -= sum(town.finish(place, random.randint(0, 3)) for place in range(SHARDS))
        town.limits.put("skill:encode", LimitValues.of(6))
        town.limits.set_paused("key:b")

        def is_done() -> bool:
            nonlocal left
            town.take()
            left -= sum(town.finish(place) for place in range(SHARDS))
            return left == 0

        wait_until(is_done, 120, lambda: f"{left} left: {town.limits.all()}")
        stop.set()
        for thread in movers:
            thread.join()
    town.limits.remove("skill:encode")
    for _ in range(3):
        town.move()
        town.take()

    assert problems == []
    assert town.left == []
    assert town.limits.all() == {}
