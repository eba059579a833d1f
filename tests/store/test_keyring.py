from __future__ import annotations

from collections.abc import Callable, Iterator
from time import time

import pytest
import redis

from avtomatika.core.signing import GroupSecret
from avtomatika.store import Store, keyring
from avtomatika.store.keyring import Keyring

TEXT = b'{"kind":"start"}'
Process = Callable[..., Keyring]


@pytest.fixture
def process(redis_url: str) -> Iterator[Process]:
    """The keyring of one more process."""
    stores: list[Store] = []

    def begin(secret_key: str | None = None) -> Keyring:
        stores.append(Store.connect(redis_url, secret=None if secret_key is None else GroupSecret(secret_key)))
        return stores[-1].keyring

    yield begin
    for store in stores:
        store.close()


def test_processes_without_a_secret_of_their_own_agree_on_one(process: Process) -> None:
    assert process().secret.is_signed(process().secret.signed(TEXT))


def test_a_configured_secret_is_the_one_and_is_kept_nowhere(process: Process, redis_url: str) -> None:
    secret = process("planted").secret

    assert secret.is_signed(GroupSecret("planted").signed(TEXT))
    with redis.Redis.from_url(redis_url) as client:
        assert client.get("{avt.g0}:secret") is None
        assert "planted" not in str([client.hgetall(key) for key in client.scan_iter("{avt.g0}:secret*")])


def test_a_server_that_lost_its_data_gets_the_secret_back(
    process: Process, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "_LOOK_EVERY_SECONDS", 0)
    first = process()
    signed = first.secret.signed(TEXT)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()

    assert first.secret.is_signed(signed)

    assert process().secret.is_signed(signed)


def test_who_finds_that_others_were_quicker_agrees_with_them(
    process: Process, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "_LOOK_EVERY_SECONDS", 0)
    first = process()
    assert first.secret
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()

    second = process()

    assert first.secret.is_signed(second.secret.signed(TEXT))


def test_processes_with_different_secrets_are_told(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    assert process("one").secret
    assert "differs from that of another process" not in caplog.text

    assert process("two").secret

    assert "SECRET_KEY differs from that of another process" in caplog.text
    assert len(process("two").fingerprints()) == 2


def test_a_secret_that_nobody_began_to_use_within_a_day_is_forgotten(process: Process, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset("{avt.g0}:secret:fingerprints", "old", int(time()) - 25 * 3600)

    assert process("one").fingerprints() == {}


def test_secrets_of_the_past_do_not_gather_on_the_server(process: Process, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset("{avt.g0}:secret:fingerprints", mapping={f"old{number}": 1 for number in range(50)})
        secret = process("planted").secret

        assert client.hkeys("{avt.g0}:secret:fingerprints") == [secret.fingerprint.encode()]


def test_for_want_of_a_secret_the_log_says_who_keeps_it(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    assert process().secret

    assert "SECRET_KEY is not set: the server stores one" in caplog.text
