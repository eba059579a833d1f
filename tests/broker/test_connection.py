"""Connecting: supported URLs, and hiding their passwords."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from avtomatika import broker
from avtomatika.broker import redacted_url
from avtomatika.errors import UnavailableError
from avtomatika.store import Store

SECRETS = ("hidden", "secret")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://hidden:secret@host:6379/0?x=1", "redis://host:6379/0"),
        ("redis://:secret/hidden@host/0", "redis://host/0"),
        ("redis://:secret@hidden@host/0", "redis://host/0"),
        ("redis://:secret,hidden@host/0", "redis://host/0"),
        ("redis://:secret?hidden@host/0", "redis://..."),
        ("redis://:secret#hidden@host/0", "redis://..."),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("sentinel://:secret@a:1,b:2/0?master_name=m&sentinel_password=hidden", "sentinel://a:1,b:2/0"),
        ("sentinel://:secret@a:1;sentinel://:hidden@b:2/0?master_name=m", "sentinel://a:1,b:2/0"),
        ("sentinel://:secret@a:1;b:2/0?sentinel_password=s@hidden", "sentinel://..."),
    ],
)
def test_a_redacted_url_has_no_credentials(url: str, told: str) -> None:
    assert redacted_url(url) == told


@pytest.mark.parametrize(
    "url",
    [
        "redis://hidden:secret@127.0.0.1:1/0",
        "sentinel://hidden:secret@127.0.0.1:1;127.0.0.1:2/0?master_name=m&sentinel_password=secret",
        "sentinel://:secret@127.0.0.1:1;sentinel://:secret@127.0.0.1:2/0?master_name=m",
    ],
)
def test_errors_name_an_unreachable_broker_without_its_password(url: str) -> None:
    with broker.connect(url) as connection, pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1") as raised:
        broker.declare_tasks(connection, ["encode"])

    assert not any(secret in str(raised.value) for secret in SECRETS)


def test_errors_name_an_unreachable_store_without_its_password() -> None:
    store = Store.connect("redis://hidden:secret@127.0.0.1:1/0")

    with pytest.raises(UnavailableError) as raised:
        store.ping()

    assert not any(secret in str(raised.value) for secret in SECRETS)


def test_a_wrong_password_is_rejected_and_not_shown(make_server: Callable[..., Any]) -> None:
    server = make_server()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", "the right one")
    url = f"redis://:secret@127.0.0.1:{server.port}/0"

    with broker.connect(url) as connection, pytest.raises(UnavailableError, match=str(server.port)) as raised:
        broker.declare_tasks(connection, ["encode"])

    assert "secret" not in str(raised.value)


def test_a_sentinel_url_must_name_the_primary() -> None:
    with (
        broker.connect("sentinel://:secret@127.0.0.1:1/0") as connection,
        pytest.raises(ValueError, match="must name the primary"),
    ):
        broker.declare_tasks(connection, ["encode"])


@pytest.mark.parametrize("url", ["amqp://hidden:secret@host", "host:6379", "http://hidden:secret@host"])
def test_an_unknown_scheme_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match="the scheme must be one of redis, rediss, unix, sentinel") as raised:
        broker.connect(url)

    assert not any(secret in str(raised.value) for secret in SECRETS)
