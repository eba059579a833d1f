"""Data stores: one contract for the server and for memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from avtomatika import Blueprint
from avtomatika.core.blueprint.data_store import Data, DataStore
from avtomatika.errors import BlueprintError, HandlerError
from avtomatika.orchestrator.data_stores import AsyncDataStore, DataStores, MemoryData
from avtomatika.store import RedisData

INITIAL = {"n": 5, "word": "five", "half": 0.5}


@pytest.fixture(params=["server", "memory"])
def data(request: pytest.FixtureRequest) -> Iterator[Data]:
    if request.param == "memory":
        yield MemoryData()
        return
    stored = RedisData.connect(request.getfixturevalue("redis_url"))
    yield stored
    stored.close()


@pytest.fixture
def store(data: Data) -> DataStore:
    return DataStore(data, "film", "counts", INITIAL)


def test_what_was_never_set_is_its_initial_value_or_the_default(store: DataStore) -> None:
    assert (store.get("n"), store.get("none"), store.get("none", 7)) == (5, None, 7)


def test_what_was_set_is_there_for_every_job_and_for_no_other_store(data: Data, store: DataStore) -> None:
    store.set("n", {"deep": ["ü", None, 1.5]})

    assert DataStore(data, "film", "counts", INITIAL).get("n") == {"deep": ["ü", None, 1.5]}
    assert DataStore(data, "film", "others", {}).get("n") is None
    assert DataStore(data, "music", "counts", {}).get("n") is None


def test_null_is_a_value(store: DataStore) -> None:
    store.set("n", None)

    assert store.get("n", 7) is None


def test_a_value_is_a_copy(store: DataStore) -> None:
    value = ["a"]
    store.set("list", value)
    value.append("b")
    store.get("list").append("c")

    assert store.get("list") == ["a"]


def test_counting_begins_with_the_initial_value_or_with_nought(store: DataStore) -> None:
    assert [store.incr("n"), store.incr("n", -2), store.incr("other"), store.get("n")] == [6, 4, 1, 4]


def test_counting_is_exact_for_whole_numbers_and_as_python_for_others(store: DataStore) -> None:
    store.set("big", 2**53)

    assert store.incr("big") == 2**53 + 1
    assert store.incr("half", 0.25) == 0.75
    assert store.incr("half", 0.25) == 1.0
    assert store.incr("half", 0.1) == 1.1


@given(values=st.lists(st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_any_sums_are_those_of_python(data: Data, values: list[float]) -> None:
    store = DataStore(data, "film", "sums", {})
    store.set("sum", 0)
    expected: float = 0
    for value in values:
        expected += value
        assert store.incr("sum", value) == expected


@pytest.mark.parametrize("value", ["five", True, None, [1], {"a": 1}, "5"])
def test_what_is_no_number_cannot_be_counted(store: DataStore, value: Any) -> None:
    store.set("x", value)

    with pytest.raises(HandlerError, match=r"data store 'counts': 'x' is .*, to which 1 cannot be added"):
        store.incr("x")
    assert store.get("x") == value


def test_a_count_ends_with_64_bits(store: DataStore) -> None:
    store.set("x", 2**63 - 1)

    with pytest.raises(HandlerError, match="cannot be added"):
        store.incr("x")
    assert store.get("x") == 2**63 - 1


@pytest.mark.parametrize("key", ["", 7, None, "k" * 513])
def test_a_key_is_text(store: DataStore, key: Any) -> None:
    with pytest.raises(HandlerError, match="a key must be text of 1 to 512 characters"):
        store.get(key)


def test_a_value_is_json(store: DataStore) -> None:
    with pytest.raises(HandlerError, match=r"data store 'counts': the value of 'x'\[0\] is of type object"):
        store.set("x", [object()])
    with pytest.raises(HandlerError, match="incr by must be a number, not 'one'"):
        store.incr("x", "one")  # type: ignore[arg-type]  # what a handler may do


def test_no_count_is_lost_among_threads(store: DataStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.incr("hits"), range(400)))

    assert store.get("hits") == 400


def test_an_async_handler_awaits_the_same(data: Data) -> None:
    bp = Blueprint("film")
    bp.add_data_store("counts", INITIAL)
    stores = DataStores(bp, data, is_async=True)

    async def use() -> list[Any]:
        counts = stores.counts
        assert isinstance(counts, AsyncDataStore)
        await counts.set("word", "six")
        await asyncio.gather(*(counts.incr("n") for _ in range(20)))
        return [await counts.get("word"), await counts.get("n")]

    assert asyncio.run(use()) == ["six", 25]


def test_a_store_that_was_not_added_is_named() -> None:
    bp = Blueprint("film")
    bp.add_data_store("counts")

    with pytest.raises(HandlerError, match=r"unknown data store 'count': .* known: counts"):
        DataStores(bp, MemoryData(), is_async=False)["count"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("counts",), "the data store 'counts' is defined twice"),
        (("a b",), "the name of the data store 'a b' may contain letters"),
        (("new", [1]), r"the initial values of the data store 'new' must be a dict, not \[1\]"),
        (("new", {"a": object()}), r"data store 'new': initial.a is of type object"),
    ],
)
def test_a_store_that_cannot_be_is_refused_where_it_is_added(arguments: Any, said: str) -> None:
    bp = Blueprint("film")
    bp.add_data_store("counts")

    with pytest.raises(BlueprintError, match=said):
        bp.add_data_store(*arguments)
