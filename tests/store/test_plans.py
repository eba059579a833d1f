"""Plans as all orchestrators know them, on the real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from avtomatika.core.job import Job, JobStatus, Parent, WaitRecord
from avtomatika.store import Plans, Store, needed_by


@pytest.fixture
def plans(redis_url: str) -> Iterator[Plans]:
    store = Store.connect(redis_url)
    yield store.plans
    store.close()


def test_who_announces_a_plan_serves_it(plans: Plans) -> None:
    plans.announce(["video@1", "order@2"])

    known = plans.announce()

    assert set(known.silent_ms) == {"video@1", "order@2"}
    assert max(known.silent_ms.values()) < 5000
    assert known.abandoned == frozenset()


def test_an_abandoned_plan_is_so_until_somebody_announces_it(plans: Plans) -> None:
    plans.announce(["video@1"])
    plans.abandon("video@1")
    abandoned = plans.announce(["video@2"]).abandoned

    back = plans.announce(["video@1"])

    assert abandoned == {"video@1"}
    assert back.abandoned == frozenset()


def test_a_plan_that_was_silent_for_a_month_is_forgotten(plans: Plans) -> None:
    plans.announce(["video@1", "video@2"])
    plans.abandon("video@1")
    key, abandoned, month_ms = plans._keys.plans(), plans._keys.abandoned_plans(), 31 * 24 * 3600 * 1000
    for each in (key, abandoned):
        plans._server.execute(("ZINCRBY", each, -month_ms, "video@1"))

    known = plans.announce()

    assert (set(known.silent_ms), known.abandoned) == ({"video@2"}, frozenset())


def test_one_that_has_queues_still_is_not(plans: Plans) -> None:
    plans.abandon("video@1")
    plans._server.execute(("ZINCRBY", plans._keys.abandoned_plans(), -29 * 24 * 3600 * 1000, "video@1"))

    plans.keep_abandoned(["video@1", "video@2"])
    plans._server.execute(("ZINCRBY", plans._keys.abandoned_plans(), -29 * 24 * 3600 * 1000, "video@1"))

    assert plans.announce().abandoned == {"video@1"}, "video@2 is served and not abandoned"


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, {"video@1"}),
        ({"earlier_plans": ("0", "00")}, {"video@1", "video@0", "video@00"}),
        ({"parent": Parent("g0-2", "shop@7.pay._child", 1)}, {"video@1", "shop@7"}),
        (
            {"wait": WaitRecord("child", "t", "pay", {}, {"child_id": "g0-3", "signal_key": "bill@9.start._signal"})},
            {"video@1", "bill@9"},
        ),
    ],
)
def test_a_job_needs_every_plan_by_whose_keys_it_may_hear_or_tell(fields: dict[str, object], needed: set[str]) -> None:
    job = Job("g0-1", "video", "1", status=JobStatus.WAITING_FOR_CHILD, **fields)  # type: ignore[arg-type]

    assert needed_by(job) == needed
