"""Guessing tokens: an address that sends too many invalid ones is answered 429; valid ones are never refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from avtomatika.store import Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app
from avtomatika.web.throttling import FAILURES_PER_MINUTE, MOST_ADDRESSES, BoundedMemoryStorage

from .conftest import OPERATOR_TOKEN, PLANS, problem

WRONG = "a-token-of-nobody"


def guess(client: FlaskClient, token: str = WRONG, **environ: str) -> int:
    """The status that a request with *token* is answered with."""
    return client.get("/api/v1/jobs", headers={"X-Client-Token": token}, environ_overrides=environ).status_code


def test_an_address_that_guesses_tokens_has_to_wait_and_others_do_not(anybody: FlaskClient) -> None:
    statuses = [guess(anybody) for _ in range(FAILURES_PER_MINUTE)]
    refused = anybody.get("/api/v1/jobs", headers={"Authorization": "Bearer wrong"})

    assert statuses == [401] * FAILURES_PER_MINUTE
    assert "wait" in problem(refused, 429, "too_many_attempts")["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert guess(anybody, REMOTE_ADDR="192.0.2.7") == 401


def test_valid_tokens_and_requests_without_any_are_never_limited(anybody: FlaskClient) -> None:
    without = [anybody.get("/api/v1/jobs").status_code for _ in range(FAILURES_PER_MINUTE + 1)]
    for _ in range(FAILURES_PER_MINUTE + 1):
        guess(anybody)

    assert set(without) == {401}
    assert guess(anybody, OPERATOR_TOKEN) == 200
    assert anybody.get("/livez").status_code == 200


def test_addresses_of_one_ipv6_network_are_one(anybody: FlaskClient) -> None:
    statuses = [guess(anybody, REMOTE_ADDR=f"2001:db8::{number:x}") for number in range(FAILURES_PER_MINUTE + 1)]

    assert statuses[-1] == 429
    assert guess(anybody, REMOTE_ADDR="2001:db8:0:1::1") == 401


@pytest.mark.parametrize(("trusted_proxies", "expected"), [(0, 429), (1, 401)])
def test_behind_a_proxy_the_address_is_that_of_the_client(
    trusted_proxies: int, expected: int, store: Store, clients: Clients, declare: Callable[[], None]
) -> None:
    app: Flask = create_app(store=store, plans=PLANS, clients=clients, declare=declare, trusted_proxies=trusted_proxies)
    client = app.test_client()

    def forwarded(address: str) -> int:
        headers = {"X-Client-Token": "wrong", "X-Forwarded-For": address}
        return client.get("/api/v1/jobs", headers=headers).status_code

    for _ in range(FAILURES_PER_MINUTE):
        forwarded("192.0.2.1")

    assert forwarded("192.0.2.2") == expected
    assert forwarded("203.0.113.9, 192.0.2.1") == 429


def test_the_number_of_counters_is_bounded() -> None:
    storage = BoundedMemoryStorage()
    for number in range(MOST_ADDRESSES + 10):
        storage.incr(str(number), 60)

    assert len(storage.storage) == MOST_ADDRESSES
    assert storage.get(str(MOST_ADDRESSES + 9)) == 1
    assert storage.get("0") == 0
