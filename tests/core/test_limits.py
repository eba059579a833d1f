"""Limits of tasks: their values, and the keys that are rendered from the data of a job."""

import pytest

from avtomatika.core.limits import KeyTemplate, LimitValues, limit_name
from avtomatika.core.rate_limit import RateLimit
from avtomatika.errors import InvalidRequestError

BOTH = ("initial_data", "state_history")


def job(initial_data: dict[str, object], **state_history: object) -> dict[str, object]:
    return {"initial_data": initial_data, "state_history": state_history}


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
        (None, None, "concurrency or rate must be given"),
        (0, None, "concurrency must be a whole number from 1 to 1000000, not 0"),
        (True, None, "not True"),
        ("3", None, "not '3'"),
        (None, "100", "rate is '100', but must be a number per second"),
        (None, "100/month", "rate is '100/month'"),
        (None, 100, "rate is 100"),
    ],
)
def test_invalid_values_are_refused_by_name(concurrency: object, rate: object, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message.replace("(", r"\(")):
        LimitValues.of(concurrency, rate)


def test_a_key_is_made_of_text_and_data_of_both_kinds() -> None:
    template = KeyTemplate.of("acct-{initial_data[account]}/{state_history[order][region]}", *BOTH)

    key = template.render(job({"account": 7}, order={"region": "north"}))

    assert key == "acct-7/north"


@pytest.mark.parametrize(
    "text",
    [
        *("", 7, "{account}", "{initial_data}", "{initial_data.account}", "{initial_data[a].__class__}"),
        *(
            "{initial_data[a]!r}",
            "{initial_data[a]:>10}",
            "{state_history[a]}",
            "{initial_data[a]",
            "a}",
            "{}",
            "{{a}}",
        ),
    ],
)
def test_a_template_that_names_anything_else_is_refused(text: object) -> None:
    with pytest.raises(InvalidRequestError, match="key must be text with places such as"):
        KeyTemplate.of(text, "initial_data")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"initial_data\[order\]\[account\] must be text or a number, not None"),
        ({"order": "text"}, r"initial_data\[order\]\[account\] must be text or a number, not None"),
        ({"order": {"account": None}}, r"must be text or a number, not None"),
        ({"order": {"account": True}}, r"must be text or a number, not True"),
        ({"order": {"account": ""}}, "must have 1 to 128 printable characters"),
        ({"order": {"account": "x" * 129}}, "must have 1 to 128 printable characters"),
        ({"order": {"account": "a\x00b"}}, "must have 1 to 128 printable characters"),
    ],
)
def test_data_that_give_no_key_are_named(data: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        KeyTemplate.of("{initial_data[order][account]}", "initial_data").render(job(data))


@pytest.mark.parametrize(
    ("kind", "name"), [("skill", "a b"), ("client", ""), ("key", ""), ("key", "a\n"), ("key", 129 * "x")]
)
def test_a_name_that_no_limit_can_have_is_refused(kind: str, name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"name of a {kind} cannot be"):
        limit_name(kind, name)


def test_a_key_may_have_any_printable_text() -> None:
    assert limit_name("key", "Zoë/7 :x") == "key:Zoë/7 :x"
