"""Limits of tasks: their values, and the keys that are rendered from the data of a job."""

import pytest

from avtomatika.core.limits import KeyTemplate, LimitValues
from avtomatika.core.rate_limit import RateLimit

BOTH = ("initial_data", "state_history")


@pytest.mark.parametrize(
    ("text", "count", "seconds"), [("100/m", 100, 60), ("5/s", 5, 1), ("900/hour", 900, 3600), ("1/d", 1, 86_400)]
)
def test_a_rate_may_be_written_with_the_letter_of_its_unit(text: str, count: int, seconds: int) -> None:
    assert RateLimit.parse(text) == RateLimit(count, seconds)


def test_a_rate_is_written_in_the_form_that_is_read() -> None:
    assert str(RateLimit.parse("100/m")) == "100/minute"


def test_values_are_sent_with_the_window_in_milliseconds() -> None:
    assert LimitValues.of(3, "100/m").on_wire() == {"concurrency": 3, "rate": 100, "per_ms": 60_000}
    assert LimitValues.of(3).on_wire() == {"concurrency": 3}


@pytest.mark.parametrize(
    ("concurrency", "rate", "message"),
    [
        (None, None, "give concurrency, rate, or both"),
        (0, None, "concurrency must be a whole number from 1 to 1000000, not 0"),
        (True, None, "not True"),
        ("3", None, "not '3'"),
        (None, "100", "rate is '100', but must be a number per second"),
        (None, "100/month", "rate is '100/month'"),
        (None, 100, "rate is 100"),
    ],
)
def test_invalid_values_are_refused_by_name(concurrency: object, rate: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        LimitValues.of(concurrency, rate)


def test_a_key_is_made_of_text_and_data_of_both_kinds() -> None:
    template = KeyTemplate.of("acct-{initial_data[account]}/{state_history[order][region]}", *BOTH)

    key = template.render({"initial_data": {"account": 7}, "state_history": {"order": {"region": "north"}}})

    assert key == "acct-7/north"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be text"),
        (7, "must be text"),
        ("{account}", r"may only contain places such as \{initial_data\[name\]\}"),
        ("{initial_data}", "may only contain"),
        ("{initial_data.account}", "may only contain"),
        ("{initial_data[a].__class__}", "may only contain"),
        ("{initial_data[a]!r}", "may only contain"),
        ("{initial_data[a]:>10}", "may only contain"),
        ("{state_history[a]}", "may only contain"),
        ("{initial_data[a]", "expected '}'"),
    ],
)
def test_a_template_that_names_anything_else_is_refused(text: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeyTemplate.of(text, "initial_data")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"initial_data\[order\]\[account\] does not exist"),
        ({"order": "text"}, r"initial_data\[order\]\[account\] does not exist"),
        ({"order": {"account": None}}, r"must be text or a number, not None"),
        ({"order": {"account": True}}, r"must be text or a number, not True"),
        ({"order": {"account": ""}}, "a key has 1 to 128 printable characters"),
        ({"order": {"account": "x" * 129}}, "a key has 1 to 128 printable characters"),
        ({"order": {"account": "a\x00b"}}, "a key has 1 to 128 printable characters"),
    ],
)
def test_data_that_give_no_key_are_named(data: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeyTemplate.of("{initial_data[order][account]}", "initial_data").render({"initial_data": data})
