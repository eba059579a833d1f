"""The figures of a server: counted by the scripts that create and end jobs, sampled by orchestrators, read in two round
trips."""

from typing import Any

import pytest

from avtomatika import broker
from avtomatika.broker import Consumer, Outgoing
from avtomatika.core.job import Job, JobStatus
from avtomatika.core.machine.moves import end
from avtomatika.store import Commit, NewJob, Overview, Store
from avtomatika.store.keys import Keys
from avtomatika.transport import Router

from .conftest import CountingClient, House, bp, cause, finish, result_of

MINUTE = 60_000


def counted(seen: Overview) -> dict[str, float]:
    return {name: sum(filter(None, values)) for name, values in seen.hour["series"].items()}


def sampled(seen: Overview) -> dict[str, Any]:
    """The last sample: of this minute, or of the last one if that has just ended."""
    found = {name: [each for each in values[-2:] if each is not None] for name, values in seen.hour["series"].items()}
    return {name: values[-1] for name, values in found.items()}


def ended(house: House, job: Job) -> None:
    event = result_of(job)
    delivery = house.send(event)
    assert house.settle(Commit(job, finish(job, event, delivery), (cause(delivery),))).answer == "OK"


def end_as(house: House, status: JobStatus) -> None:
    job = house.create()
    assert house.settle(Commit(job, end(job, status, {"by": "me"}), ())).answer == "OK"


def test_creations_and_ends_are_counted_by_minute(house: House) -> None:
    ended(house, house.waiting())
    house.store.create_many([NewJob(plan=bp.plan, client="me") for _ in range(3)])
    for status in (JobStatus.FAILED, JobStatus.ERROR, JobStatus.CANCELLED):
        end_as(house, status)

    seen = house.store.overview.read()

    for points in (seen.hour, seen.day):
        sums = {name: sum(filter(None, values)) for name, values in points["series"].items()}
        assert [sums[name] for name in ("created", "finished", "failed", "cancelled")] == [7, 1, 2, 1]
    assert (seen.jobs["pending"], seen.jobs["error"]) == (3, 1)


@pytest.mark.parametrize("status", [each for each in JobStatus if each.is_final])
def test_every_end_is_counted(house: House, status: JobStatus) -> None:
    end_as(house, status)

    assert sum(counted(house.store.overview.read())[name] for name in ("finished", "failed", "cancelled")) == 1


def test_a_repeated_creation_counts_once(house: House) -> None:
    for _ in range(2):
        house.create(idempotency_key="k")

    assert counted(house.store.overview.read())["created"] == 1


def test_a_repeated_commit_counts_once(house: House) -> None:
    job = house.waiting()
    event = result_of(job)
    delivery = house.send(event)
    commit = Commit(job, finish(job, event, delivery), (cause(delivery),))

    assert [house.settle(commit).answer for _ in range(2)] == ["OK", "LEASE_LOST"]

    assert counted(house.store.overview.read())["finished"] == 1


def test_tasks_are_sampled(house: House) -> None:
    house.waiting()
    house.store.overview.sample()

    seen = house.store.overview.read()

    assert (sampled(seen)["waiting"], sampled(seen)["running"]) == (1, 0)
    assert seen.tasks["waiting"] == 1
    assert seen.waiting["worker"] == 1


def test_minutes_without_any_process_are_null(house: House) -> None:
    house.store.overview.sample()

    seen = house.store.overview.read()

    hour = seen.hour["series"]
    assert {name: values[:58] for name, values in hour.items()} == {name: [None] * 58 for name in hour}
    assert (sampled(seen)["created"], sampled(seen)["waiting"]) == (0, 0)


def test_a_job_is_counted_by_one_command_when_it_is_created_and_one_when_it_ends(house: House) -> None:
    commands(house, "bitfield")
    job = house.waiting()
    assert commands(house, "bitfield") == 1

    house.store.create_many([NewJob(plan=bp.plan, client="me") for _ in range(50)])
    assert commands(house, "bitfield") == 1

    end_as(house, JobStatus.FINISHED)
    assert commands(house, "bitfield") == 2
    assert job.status is JobStatus.WAITING_FOR_WORKER


def commands(house: House, name: str) -> int:
    """Return how often the server has run a command since the last call."""
    stats = house.client.info("commandstats")
    house.client.config_resetstat()
    return int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"])


def write(house: House, minute: int, *numbers: int) -> None:
    """Write a minute as the scripts do: counts, then each sample plus one."""
    fields = [
        part for place, number in enumerate(numbers, minute % 10 * 7) for part in ("SET", "u32", f"#{place}", number)
    ]
    house.client.execute_command("BITFIELD", f"{Keys().statistics()}{minute // 10}", *fields)


def test_points_are_at_their_minutes_and_ten_minutes_are_merged(house: House) -> None:
    seconds, _ = house.client.time()
    this = int(seconds) // 60
    window = (this - 300) // 10 * 10
    write(house, window, 5, 4, 3, 2, 11, 21, 100)
    write(house, window + 9, 50, 40, 30, 20, 16, 31, 10)
    write(house, this - 30, 7)

    seen = house.store.overview.read()

    hour, day = seen.hour, seen.day
    at = hour["series"]["created"].index(7)
    assert hour["starts_ms"] + at * MINUTE == (this - 30) * MINUTE
    assert hour["series"]["waiting"][at] is None
    assert (len(hour["series"]["created"]), len(day["series"]["created"])) == (60, 144)
    place = (window * MINUTE - day["starts_ms"]) // (10 * MINUTE)
    assert {name: values[place] for name, values in day["series"].items()} == {
        "created": 55,
        "finished": 44,
        "failed": 33,
        "cancelled": 22,
        "running": 12.5,
        "waiting": 25,
        "oldest_waiting_seconds": 99,
    }
    assert day["series"]["created"][place + 1] is None


def test_statistics_expire_after_a_day(house: House) -> None:
    house.create()
    house.store.overview.sample()
    [key] = house.client.keys("{avt.g0}:statistics:*")

    assert 86_400 < house.client.ttl(key) <= 90_000
    assert house.client.strlen(key) <= 280


def test_a_key_of_another_type_does_not_stop_jobs(house: House) -> None:
    seconds, _ = house.client.time()
    for window in (int(seconds) // 600, int(seconds) // 600 + 1):
        house.client.hset(f"{{avt.g0}}:statistics:{window}", "a", "b")

    ended(house, house.waiting())

    assert counted(house.store.overview.read())["finished"] == 0


def commands_for_an_overview(house: House, server: CountingClient) -> dict[str, int]:
    """The numbers of the commands that the server runs, also in scripts."""
    store = Store(server, Router(server))
    store.overview.read()  # connects
    house.client.config_resetstat()
    server.round_trips = 0
    store.overview.read()
    stats = house.client.info("commandstats")
    assert server.round_trips == 2
    return {name: stats[name]["calls"] for name in stats if name != "cmdstat_config|resetstat"}


def test_an_overview_takes_two_round_trips_however_many_jobs(house: House) -> None:
    server = CountingClient.connect(house.url)
    house.store.registry.register("w-1", {"type": "video", "skills": []})
    few = commands_for_an_overview(house, server)
    house.store.create_many([NewJob(plan=bp.plan, client="me") for _ in range(300)])

    assert commands_for_an_overview(house, server) == few
    server.close()


@pytest.mark.parametrize("own_server", [{"appendfsync": "always"}], indirect=True)
def test_figures_survive_a_restart(own_server: Any) -> None:
    with broker.connect(own_server.url) as connection:
        broker.declare(connection, [bp.plan])
    store = Store.connect(own_server.url)
    store.create(NewJob(plan=bp.plan, client="me"))
    store.overview.sample()
    before = sums(store.overview.read())

    own_server.kill()
    store.close()
    own_server.start()

    after = sums(store.overview.read())
    store.close()
    assert after == before
    assert after["created"] == 1


def sums(seen: Overview) -> dict[str, float]:
    return {name: sum(filter(None, values)) for name, values in seen.day["series"].items()}


def test_dead_letters_are_counted_by_queue_also_of_deleted_queues(house: House) -> None:
    broker.declare_tasks(house.connection, ["convert"])
    with house.connection.channel() as channel:
        channel.settle([Outgoing("avt.tasks", "convert", "{}")], ())
    intake = Consumer(house.connection, ["convert"], prefetch=1)
    for _ in range(100):
        if delivered := intake.take(0.05):
            break
    intake.dead_letter(delivered[0], reason="max_deliveries")
    intake.close()

    assert house.store.overview.read().dead_letters == {"convert": 1}
    with house.connection.channel() as channel:
        channel.queue_delete("convert")
    assert house.store.overview.read().dead_letters == {"convert": 1}
