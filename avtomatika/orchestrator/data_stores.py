"""``data_stores`` as handlers receive them, awaitable in async handlers, and an in-memory backend."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from threading import Lock
from typing import TypeVar

from avtomatika.core.blueprint.awaitable import awaitable
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.blueprint.data_store import Data, DataStore, as_text
from avtomatika.core.job import Json
from avtomatika.errors import HandlerError

T = TypeVar("T")

#: Range of an integer counter: 64 bits, signed.
SMALLEST_COUNT, LARGEST_COUNT = -(2**63), 2**63 - 1


class AsyncDataStore:
    """A data store for async handlers: the same methods, awaitable."""

    def __init__(self, store: DataStore) -> None:
        self._store = store

    get = awaitable(DataStore.get)
    set = awaitable(DataStore.set)
    incr = awaitable(DataStore.incr)

    def _blocking(self) -> DataStore:
        return self._store

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.to_thread(function)


class DataStores(Mapping[str, DataStore | AsyncDataStore]):
    """Data stores of *blueprint* by name: ``data_stores["counts"]`` or ``data_stores.counts``."""

    def __init__(self, blueprint: Blueprint, data: Data, *, is_async: bool) -> None:
        self._blueprint = blueprint
        self.data = data
        self._is_async = is_async

    def __getitem__(self, name: str) -> DataStore | AsyncDataStore:
        initial = self._blueprint.data_stores.get(name)
        if initial is None:
            known = ", ".join(self) or "none"
            raise HandlerError(f"unknown data store {name!r}: add it with bp.add_data_store; known: {known}")
        store = DataStore(self.data, self._blueprint.name, name, initial)
        return AsyncDataStore(store) if self._is_async else store

    def __getattr__(self, name: str) -> DataStore | AsyncDataStore:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._blueprint.data_stores)

    def __len__(self) -> int:
        return len(self._blueprint.data_stores)


class MemoryData:
    """Data in the memory of one process, for tests."""

    def __init__(self) -> None:
        self._texts: dict[tuple[tuple[str, str], str], str] = {}
        self._lock = Lock()

    def get(self, store: tuple[str, str], key: str) -> str | None:
        return self._texts.get((store, key))

    def set(self, store: tuple[str, str], key: str, text: str) -> None:
        with self._lock:
            self._texts[store, key] = text

    def incr(self, store: tuple[str, str], key: str, by: str, *, first: str) -> str | None:
        with self._lock:
            total = _sum(json.loads(self._texts.get((store, key), first)), json.loads(by))
            if total is not None:
                self._texts[store, key] = as_text(total)
        return None if total is None else as_text(total)


def _sum(value: Json, by: float) -> Json:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    total = value + by
    fits = SMALLEST_COUNT <= total <= LARGEST_COUNT if isinstance(total, int) else isfinite(total)
    return total if fits else None
