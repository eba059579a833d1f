"""Every answer that a commit can give, on the real server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kombu import Exchange, Queue

from avtomatika.core.events import Result
from avtomatika.core.job import JobStatus
from avtomatika.store import Commit, CommitStatus, NewJob

from .conftest import House, bp, cause, dispatch, finish, result_of


def snapshot(house: House) -> dict[bytes, bytes]:
    """Everything on the server, as bytes; dumps of equal values are equal."""
    return {
        key: house.client.dump(key) for key in house.client.scan_iter() if b"lease" not in key and b"beat" not in key
    }


def test_ok_writes_job_history_task_and_message_and_acknowledges_the_cause(house: House) -> None:
    job, delivery, step = house.started()

    reply = house.settle(Commit(job, step, (cause(delivery),)))

    stored = house.job(job.id)
    assert reply.answer is CommitStatus.OK
    assert (stored.version, stored.status) == (job.version + 1, JobStatus.WAITING_FOR_WORKER)
    assert stored.tasks.keys() == step.job.tasks.keys()
    history, _ = house.store.history(job.id)
    assert [(e.seq, e.version, e.entry.event_type) for e in history] == [
        (1, 1, "job_created"),
        (2, 2, "state_entered"),
        (3, 2, "task_dispatched"),
    ]
    stream, entry = house.intake.channel.router.parse_tag(delivery.tag)
    assert house.client.xrange(stream, entry, entry) == []
    assert house.intake.channel.queue_declare("encode", passive=True).message_count == 1


def test_the_same_commit_again_answers_that_the_lease_is_lost_and_changes_nothing(house: House) -> None:
    job, delivery, step = house.started()
    commit = Commit(job, step, (cause(delivery),))
    house.settle(commit)
    before = snapshot(house)

    assert house.settle(commit).answer is CommitStatus.LEASE_LOST
    assert snapshot(house) == before


def test_a_delivery_held_by_another_consumer_answers_lease_lost(house: House) -> None:
    job, delivery, step = house.started()
    stream, entry = house.intake.channel.router.parse_tag(delivery.tag)
    house.client.xclaim(stream, "avt", "somebody-else", 0, [entry])
    house.router(job.id).stream("encode", 0, {"x-flow": {"key": job.client}})  # known after the first task
    before = snapshot(house)

    assert house.settle(Commit(job, step, (cause(delivery),))).answer is CommitStatus.LEASE_LOST
    assert snapshot(house) == before


def test_an_event_that_was_seen_is_acknowledged_and_changes_nothing_else(house: House) -> None:
    job = house.waiting()
    again = house.send(result_of(job, status="failure"), "failure")
    house.client.hset(house.keys(job.id).seen(job.id), cause(again).event_id, 2)

    reply = house.settle(Commit(job, dispatch(job, again), (cause(again),)))

    assert reply.answer is CommitStatus.DUP
    assert house.job(job.id) == job
    stream, entry = house.intake.channel.router.parse_tag(again.tag)
    assert house.client.xrange(stream, entry, entry) == []


def test_an_old_version_answers_conflict_and_keeps_the_cause(house: House) -> None:
    job, delivery, step = house.started()

    reply = house.settle(Commit(replace(job, version=job.version + 7), step, (cause(delivery),)))

    assert reply.answer is CommitStatus.CONFLICT
    assert [live.tag for live in reply.live] == [delivery.tag]
    assert house.job(job.id) == job


def test_a_result_for_a_job_that_is_over_is_noted_and_changes_nothing(house: House) -> None:
    job = house.waiting()
    result = result_of(job)
    delivery = house.send(result)
    house.settle(Commit(job, finish(job, result, delivery), (cause(delivery),)))
    ended = house.job(job.id)
    late = house.send(result)

    reply = house.settle(Commit(ended, finish(job, result, late), (cause(late),)))

    assert reply.answer is CommitStatus.TERMINAL
    assert house.job(job.id) == ended
    [note] = house.store.notes(job.id)
    assert (note["event_type"], note["event"]) == ("task_result_ignored", result.id)


@pytest.mark.parametrize("attempt", [2, 7])
def test_a_result_of_another_attempt_is_stale(house: House, attempt: int) -> None:
    job = house.waiting()
    foreign = result_of(job, attempt=attempt)
    delivery = house.send(foreign)
    step = finish(job, result_of(job), delivery)

    reply = house.settle(Commit(job, step, (cause(delivery),)))

    assert reply.answer is CommitStatus.STALE
    assert house.job(job.id) == job
    assert [note["event"] for note in house.store.notes(job.id)] == [foreign.id]


def test_changed_bindings_answer_reroute_and_nothing_is_written(house: House) -> None:
    job, delivery, step = house.started()
    commit = Commit(job, step, (cause(delivery),))
    house.router(job.id).route("avt.tasks", "encode")
    with house.connection.clone() as other:
        Queue("elsewhere", Exchange("avt.tasks"), routing_key="encode")(other.default_channel).declare()
    house.router(job.id).stream("encode", 0, {"x-flow": {"key": job.client}})  # known after the first task
    before = snapshot(house)

    assert house.settle(commit).answer is CommitStatus.REROUTE
    assert snapshot(house) == before

    house.intake.channel.router.forget_routes()
    assert house.settle(commit).answer is CommitStatus.OK
    assert house.intake.channel.queue_declare("elsewhere", passive=True).message_count == 1


def test_an_unbound_key_answers_no_route_and_nothing_is_written(house: House) -> None:
    job, delivery, step = house.started()
    commit = Commit(job, step, (cause(delivery),))
    with house.connection.clone() as other:
        other.default_channel.queue_unbind("encode", exchange="avt.tasks", routing_key="encode")
    house.intake.channel.router.forget_routes()
    before = snapshot(house)

    reply = house.settle(commit)

    assert reply.answer is CommitStatus.NO_ROUTE
    assert "'avt.tasks'" in reply.reason
    assert "'encode'" in reply.reason
    assert snapshot(house) == before


def test_a_full_server_refuses_what_sends_more_and_takes_what_ends(house: House) -> None:
    job = house.waiting()
    result = result_of(job)
    delivery = house.send(result)
    house.client.config_set("maxmemory", 1)
    try:
        reply = house.settle(Commit(job, finish(job, result, delivery), (cause(delivery),)))
    finally:
        house.client.config_set("maxmemory", 0)

    assert reply.answer is CommitStatus.OK
    assert house.job(job.id).status is JobStatus.FINISHED


def test_several_events_of_a_job_are_one_commit_and_each_is_acknowledged(house: House) -> None:
    job = house.waiting()
    result = result_of(job)
    first = house.send(result)
    second = house.send(Result(job.id, f"{job.id}.99.0", attempt=1, status="success"))
    step = finish(job, result, first)

    reply = house.settle(Commit(job, step, (cause(first), replace(cause(second), closes=None))))

    assert reply.answer is CommitStatus.OK
    assert house.job(job.id).version == job.version + 1
    assert house.client.xlen(house.intake.channel.router.parse_tag(first.tag)[0]) == 0


def test_a_folded_cause_that_is_lost_or_stale_is_left_out_and_the_rest_is_decided_again(house: House) -> None:
    job = house.waiting()
    result = result_of(job)
    good = house.send(result)
    stale = house.send(replace(result, attempt=5))
    lost = house.send(replace(result, task_id=f"{job.id}.8.0"))
    stream, entry = house.intake.channel.router.parse_tag(lost.tag)
    house.client.xclaim(stream, "avt", "somebody-else", 0, [entry])
    step = finish(job, result, good)

    reply = house.settle(Commit(job, step, (cause(good), cause(stale), cause(lost))))

    assert reply.answer is CommitStatus.CONFLICT
    assert [live.tag for live in reply.live] == [good.tag]
    assert house.job(job.id) == job
    assert house.settle(Commit(job, step, reply.live)).answer is CommitStatus.OK


def test_a_job_that_is_gone_is_acknowledged(house: House) -> None:
    job, delivery, step = house.started()
    house.client.delete(house.keys(job.id).job(job.id))

    assert house.settle(Commit(job, step, (cause(delivery),))).answer is CommitStatus.GONE
    assert house.client.exists(house.keys(job.id).job(job.id)) == 0


def test_many_commits_go_in_one_round_trip_and_one_without_a_route_does_not_hold_up_the_others(house: House) -> None:
    jobs = {house.store.create(NewJob(plan=bp.plan, client="me")).job_id for _ in range(20)}
    deliveries = house.take(20)
    commits = []
    for delivery in deliveries:
        job = house.job(cause(delivery).event_id.removeprefix("start:"))
        commits.append(Commit(job, dispatch(job, delivery), (cause(delivery),)))
    astray = commits[7]
    [sent] = astray.step.outgoing
    wrong = replace(sent, task=replace(sent.task, task_type="unheard-of"))
    commits[7] = replace(astray, step=astray.step._replace(outgoing=(wrong,)))

    replies = house.store.commit(commits)

    assert [reply.answer for reply in replies] == [
        CommitStatus.NO_ROUTE if n == 7 else CommitStatus.OK for n in range(20)
    ]
    assert {house.job(job_id).version for job_id in jobs} == {1, 2}
