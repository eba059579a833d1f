"""Options: kombu's names, and errors for invalid values."""

from __future__ import annotations

from typing import Any

import pytest
from kombu import Connection

from avtomatika.transport.options import Options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lease_seconds", 0),
        ("lease_seconds", "30"),
        ("sweep_interval_seconds", float("inf")),
        ("visibility_timeout", -1),
        ("socket_connect_timeout", -1),
        ("max_deliveries", 2.5),
        ("max_message_bytes", True),
        ("fanout_length", float("nan")),
        ("global_keyprefix", 5),
        ("health_check_interval", -1),
    ],
)
def test_an_invalid_option_is_rejected_with_name_and_value(name: str, value: Any) -> None:
    connection = Connection(
        "redis://localhost", transport="avtomatika.transport:Transport", transport_options={name: value}
    )

    with pytest.raises(ValueError, match=f"transport option {name} must be .*, not {value!r}"):
        connection.connect()


def test_options_of_other_transports_are_ignored() -> None:
    options = Options.read(
        {"priority_steps": [0, 3], "health_check_interval": 0, "global_keyprefix": "shop:", "lease_seconds": 5}
    )

    assert (options.all_prefixes, options.lease_seconds) == (("shop:",), 5)


def test_none_selects_the_default() -> None:
    options = Options.read({"socket_timeout": None, "global_keyprefix": None, "visibility_timeout": None})

    assert options == Options()


def test_connection_options_are_passed_on(bench: Any) -> None:
    connection = bench.connect(client_name="shop", health_check_interval=7)

    connection.connect()

    settings = connection.transport.server.pool_of("").factory.connection_kwargs
    assert (settings["client_name"], settings["health_check_interval"]) == ("shop", 7)
    assert "shop" in [client["name"] for client in bench.redis.client_list()]
