"""Options: kombu's names, and a word about what makes no sense."""

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
        ("socket_timeout", None),
        ("socket_connect_timeout", -1),
        ("max_deliveries", 2.5),
        ("max_message_bytes", True),
        ("fanout_length", float("nan")),
        ("global_keyprefix", None),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name_and_value(name: str, value: Any) -> None:
    connection = Connection(
        "redis://localhost", transport="avtomatika.transport:Transport", transport_options={name: value}
    )

    with pytest.raises(ValueError, match=f"transport option {name} must be .*, not {value!r}"):
        connection.connect()


def test_options_of_other_transports_are_left_alone() -> None:
    options = Options.read({"visibility_timeout": 3600, "global_keyprefix": "shop:", "lease_seconds": 5})

    assert (options.prefix, options.lease_seconds) == ("shop:", 5)
