"""Circuit breakers, SSRF protection and signatures of webhooks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avtomatika.orchestrator.webhooks.circuit_breaker import GIVE_UP_AFTER_MS, CircuitBreakers, next_attempt_in
from avtomatika.orchestrator.webhooks.http_post import DeliveryError, Target
from avtomatika.orchestrator.webhooks.ssrf import is_allowed, networks
from avtomatika.schemas.webhooks import headers_of, is_genuine
from avtomatika.schemas.wire import WebhookMessage

HOOK = WebhookMessage("g0-1", 1, "https://shop.example/hook", "job.finished", 1_000_000, {"id": "g0-1"})


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::a00:1",
        "64:ff9b:1::7f00:1",
        "198.18.0.1",
        "192.0.2.1",
    ],
)
def test_what_is_not_public_may_not_be_called(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"])
def test_what_is_public_may(address: str) -> None:
    assert is_allowed(address)


def test_what_the_operator_names_may_and_nothing_beside_it() -> None:
    allowed = networks(["10.0.0.0/8", "::1"])

    assert is_allowed("10.9.9.9", allowed=allowed)
    assert is_allowed("::ffff:10.9.9.9", allowed=allowed)
    assert is_allowed("::1", allowed=allowed)
    assert not is_allowed("127.0.0.1", allowed=allowed)


def test_attempts_are_spread_over_a_day_and_no_more() -> None:
    now_ms, hook, delays = HOOK.at_ms, HOOK, []
    while (delay := next_attempt_in(hook, now_ms=now_ms)) is not None:
        delays.append(delay)
        now_ms += round(delay * 1000)
        hook = hook.next_attempt()

    assert 4 <= delays[0] <= 5
    assert max(delays) <= 3600
    assert 30 <= len(delays) <= 45
    assert 0.9 * GIVE_UP_AFTER_MS < now_ms - HOOK.at_ms <= GIVE_UP_AFTER_MS


def test_one_receiver_gets_four_at_a_time_and_another_is_not_concerned() -> None:
    breakers = CircuitBreakers()
    begun = [breakers.acquire("a", replace(HOOK, number=n), now=0.0) for n in range(1, 6)]

    assert begun[:4] == [None] * 4
    assert begun[4] is not None
    assert breakers.acquire("b", HOOK, now=0.0) is None


def test_an_unreachable_receiver_is_probed_by_one_webhook_at_a_time() -> None:
    breakers = CircuitBreakers()
    for _ in range(3):
        assert breakers.acquire("a", HOOK, now=0.0) is None
        breakers.release("a", is_unreachable=True, now=0.0)

    waiting = breakers.acquire("a", HOOK, now=1.0)
    assert waiting is not None
    assert 4 <= waiting <= 6
    assert breakers.acquire("a", HOOK, now=6.0) is None
    assert breakers.acquire("a", replace(HOOK, number=2), now=6.0) is not None


def test_one_that_is_back_is_forgotten() -> None:
    breakers = CircuitBreakers()
    for _ in range(5):
        breakers.acquire("a", HOOK, now=1e9)
        breakers.release("a", is_unreachable=True, now=0.0)
    breakers.acquire("a", HOOK, now=1e9)
    breakers.release("a", is_unreachable=False, now=1e9)

    assert len(breakers) == 0


@pytest.mark.parametrize(
    ("url", "netloc", "path"),
    [
        ("https://shop.example", "shop.example", "/"),
        ("http://Shop.example:8080/a b?x=ü&y=%20", "shop.example:8080", "/a%20b?x=%C3%BC&y=%20"),
        ("http://[2001:db8::1]:443/", "[2001:db8::1]:443", "/"),
        ("https://bücher.example/hook#part", "xn--bcher-kva.example", "/hook"),
    ],
)
def test_a_url_becomes_what_is_asked_for(url: str, netloc: str, path: str) -> None:
    target = Target.of(url)

    assert (target.netloc, target.path) == (netloc, path)


@pytest.mark.parametrize("url", ["ftp://shop.example/", "http:///hook", "http://a:99999/", "nothing", "http://[::1/"])
def test_an_invalid_url_is_not_retried(url: str) -> None:
    with pytest.raises(DeliveryError) as raised:
        Target.of(url)

    assert raised.value.is_permanent


@pytest.mark.parametrize("secret", ["just words", "whsec_c2VjcmV0LW9mLXNlY3JldHM="])
def test_a_receiver_in_python_knows_what_is_genuine(secret: str) -> None:
    body = b'{"type":"job.finished"}'
    headers = headers_of(HOOK, body, now_seconds=1000, secret=secret)
    as_they_come = {name.title(): value for name, value in headers.items()}

    assert is_genuine(as_they_come, body, secret=secret, now=1200)
    assert not is_genuine(as_they_come, body + b" ", secret=secret, now=1200)
    assert not is_genuine(as_they_come, body, secret="another", now=1200)
    assert not is_genuine(as_they_come, body, secret=secret, now=1400)
    assert not is_genuine({}, body, secret=secret, now=1200)


def test_addresses_that_clients_make_up_do_not_gather() -> None:
    breakers = CircuitBreakers()

    for number in range(25_000):
        breakers.acquire(f"https://{number}.example", HOOK, now=0)
        breakers.release(f"https://{number}.example", is_unreachable=True, now=0)

    assert 9_000 <= len(breakers) <= 10_000
    assert breakers.acquire("https://24999.example", HOOK, now=0) is None
