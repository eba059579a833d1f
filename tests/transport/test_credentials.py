"""Credentials: passwords are never shown, credentials may rotate, and the documented permissions suffice."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from kombu import Connection, Exchange, Queue
from redis.credentials import CredentialProvider

from avtomatika.transport.connection.addresses import Login, split_login, with_login

TRANSPORT = "avtomatika.transport:Transport"
SECRET = "hunter2"


@pytest.fixture
def server(own_server: Any) -> str:
    """``host:port`` of a server of the test."""
    return urlsplit(own_server.url).netloc


@pytest.fixture
def admin(own_server: Any) -> Iterator[redis.Redis]:
    """A user that grants permissions."""
    with redis.Redis.from_url(own_server.url) as client:
        yield client


@pytest.mark.parametrize(
    ("url", "bare", "login"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0", Login()),
        ("redis://:p%40ss@localhost", "redis://localhost", Login("", "p@ss")),
        ("redis://me:p@ss@localhost/1?x=1", "redis://localhost/1?x=1", Login("me", "p@ss")),
        ("redis://localhost?password=p&username=me", "redis://localhost", Login("me", "p")),
        ("unix://me:p@/tmp/s?db=1", "unix:///tmp/s?db=1", Login("me", "p")),
        ("sentinel://:p@a:1,b:2;sentinel://:p@c/0?x=1", "sentinel://a:1,b:2;sentinel://c/0?x=1", Login("", "p")),
    ],
)
def test_credentials_are_split_off(url: str, bare: str, login: Login) -> None:
    assert split_login(url) == (bare, login)
    assert split_login(with_login(bare, *login)) == (bare, login)


@pytest.mark.parametrize(
    "url", [f"redis://app:{SECRET}@{{}}/0", f"redis://{{}}/0?username=app&password={SECRET}"], ids=["login", "query"]
)
def test_the_password_is_hidden_and_kept_in_clones(admin: redis.Redis, server: str, url: str) -> None:
    admin.execute_command("ACL", "SETUSER", "app", "on", f">{SECRET}", "~*", "&*", "+@all")
    with Connection(url.format(server), transport=TRANSPORT) as connection:
        connection.connect()
        info = connection.info()

        assert info.pop("password") == SECRET
        assert SECRET not in str(info)
        assert SECRET not in "".join(
            [repr(connection), str(connection), connection.as_uri(), repr(connection.transport)]
        )
        assert connection.as_uri() == f"redis://app:**@{server}/0"
        assert connection.as_uri(include_password=True) == f"redis://app:{SECRET}@{server}/0"
        with connection.clone() as clone:
            assert clone.connect()


def test_the_documented_permissions_suffice(admin: redis.Redis, server: str) -> None:
    rights = ("~{avt.g0}:*", "resetchannels", "+@all", "-@dangerous")
    admin.execute_command("ACL", "SETUSER", "shop", "on", ">pw", *rights)
    queue = Queue("photos", Exchange("media"), routing_key="p")
    news = Queue("news", Exchange("all", type="fanout"), auto_delete=True)
    options = {"lease_seconds": 0.3, "sweep_interval_seconds": 0.1}
    got = []

    def take(body: Any, message: Any) -> None:
        got.append(body)
        message.ack() if body != "bad" else message.reject()

    with Connection(f"redis://shop:pw@{server}/0", transport=TRANSPORT, transport_options=options) as connection:
        producer = connection.Producer(serializer="json")
        with connection.Consumer([queue, news], callbacks=[take], accept=["json"]):
            told = {"exchange": "", "key": "photos", "body": '"told"'}
            producer.publish("bad", exchange="media", routing_key="p", declare=[queue], headers={"x-on-dead": told})
            producer.publish("late", exchange="media", routing_key="p", headers={"x-delay": 50})
            producer.publish("news", exchange="all")
            while len(got) < 4:
                connection.drain_events(timeout=5)
        queue(connection.default_channel).purge()
        queue(connection.default_channel).delete()

    assert sorted(got) == ["bad", "late", "news", "told"]


class Rotating(CredentialProvider):
    token = "token-1"

    def get_credentials(self) -> tuple[str, str]:
        return "app", self.token


@pytest.mark.parametrize("place", ["argument", "query"])
def test_a_credential_provider_is_used_for_each_new_connection(
    admin: redis.Redis, server: str, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    admin.execute_command("ACL", "SETUSER", "app", "on", ">token-1", "~*", "&*", "+@all")
    name = "avtomatika.transport.connection.connect.symbol_by_name"
    monkeypatch.setattr(name, {"shop:Rotating": Rotating}.__getitem__)
    monkeypatch.setattr(Rotating, "token", "token-1")
    url = f"redis://{server}/0"
    given: dict[str, Any] = {"credential_provider": Rotating()}
    if place == "query":
        url, given = f"redis://me:no@{server}/0?credential_provider=shop:Rotating", {}
    with Connection(url, transport=TRANSPORT, **given) as connection:
        queue = connection.SimpleQueue("q")
        queue.put(1)
        admin.execute_command("ACL", "SETUSER", "app", "resetpass", ">token-2")
        admin.execute_command("CLIENT", "KILL", "USER", "app")
        monkeypatch.setattr(Rotating, "token", "token-2")

        with pytest.raises(connection.connection_errors):
            queue.put(2)
        queue.put(3)

        assert queue.qsize() == 2


@pytest.mark.parametrize("way", ["url", "options"])
def test_sentinel_passwords_are_hidden_and_kept_in_clones(way: str) -> None:
    url, options = "sentinel://127.0.0.1:1/0?master_name=m", {"sentinel_kwargs": {"socket_timeout": 1}}
    if way == "url":
        url += "&sentinel_username=watcher&sentinel_password=hidden"
    else:
        options["sentinel_kwargs"] |= {"username": "watcher", "password": "hidden"}
    connection = Connection(url, transport="avtomatika.transport:Transport", transport_options=options)

    for each in (connection, connection.clone(), copy.copy(connection)):
        assert "hidden" not in repr(each.info())
        assert "hidden" not in each.as_uri()
        kwargs = each.transport.options.sentinel_kwargs
        assert kwargs == {"socket_timeout": 1, "username": "watcher", "password": "hidden"}
