"""Finished jobs are deleted, however many there are, and even if one of them cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from avtomatika.store import NewJob

from .conftest import House, bp


def due(house: House, count: int, **fields: Any) -> list[str]:
    """Jobs whose retention is over."""
    made = house.store.create_many([NewJob(plan=bp.plan, client="me", **fields) for _ in range(count)])
    house.client.zadd(house.keys(made[0].job_id).retention(), {each.job_id: 0 for each in made})
    return [each.job_id for each in made]


def sweep(house: House) -> int:
    removed = 0
    while (swept := house.sweeper.expire_jobs()).is_more:
        removed += swept.done
    return removed + swept.done


def there(house: House, job_ids: Sequence[str]) -> list[str]:
    return [job_id for job_id in job_ids if list(house.client.scan_iter(f"*{job_id}*"))]


def test_as_many_are_removed_as_are_due(house: House) -> None:
    due(house, 250)

    assert sweep(house) == 250
    assert not house.client.keys("*:retention") + house.client.keys("*:jobs")


def test_one_that_cannot_be_read_is_removed(house: House) -> None:
    odd, *others = due(house, 3)
    house.client.hset(house.keys(odd).job(odd), "init", "no JSON")
    house.client.hset(house.keys(others[0]).job(others[0]), "init", '{"labels": 5}')

    assert sweep(house) == 3
    assert there(house, [odd, *others]) == []
    assert not house.client.keys("*:jobs") + house.client.keys("*:jobs:status:*")


def test_one_that_the_server_refuses_to_remove_is_not_in_the_way(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    [stuck] = due(house, 1, labels={"a": "b"})
    house.client.set(house.keys(stuck).by_label("a", "b"), "foreign")
    others = due(house, 150)

    assert sweep(house) == 150
    assert there(house, others) == []
    assert house.client.zscore(house.keys(stuck).retention(), stuck) > 0
    assert f"cannot delete 1 finished jobs, next attempt in an hour: ['{stuck}']" in caplog.text

    house.client.delete(house.keys(stuck).by_label("a", "b"))
    house.client.zadd(house.keys(stuck).retention(), {stuck: 0})
    assert sweep(house) == 1


def test_an_orchestrator_leaves_it_to_the_one_that_is_at_it(house: House) -> None:
    [job_id] = due(house, 1)
    house.client.set(house.keys(job_id).claim("retention"), 1)

    assert sweep(house) == 0
    house.client.delete(house.keys(job_id).claim("retention"))
    assert sweep(house) == 1
