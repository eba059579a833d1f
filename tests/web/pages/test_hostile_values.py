"""Values that try to run, to reverse text or to be endless: every page answers, bounded, and shows them as text."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask.testing import FlaskClient

from avtomatika import broker
from avtomatika.core.blueprint.action_types import AwaitApproval, DispatchTask, End, GoTo
from avtomatika.core.job import Job
from avtomatika.store import Store

from ...support.waiting import wait_until
from ..conftest import OPERATOR_TOKEN, created_id
from .conftest import log_in

SCRIPT = "<script>alert(1)</script>"
BREAK_OUT = "</pre></textarea>\"'><img src=x onerror=alert(1)>"
#: Text that is shown in another order than it is written in, and characters that are not shown.
HIDDEN = "exe.\u202egnp\u2066\u0000\u001b[31m\u0085"
LARGE = "<&\"'\u202e" * 20_000
#: Largest page, in bytes.
LARGEST = 500_000

Move = Callable[..., Job]


def nested(levels: int) -> Any:
    value: Any = SCRIPT
    for _ in range(levels):
        value = {"<b>": [value]}
    return value


HOSTILE = {
    "text": {
        SCRIPT: BREAK_OUT,
        BREAK_OUT: SCRIPT,
        HIDDEN: HIDDEN,
        "large": LARGE,
        LARGE[:100_000]: 1,
        "deep": nested(30),
    },
    "wide": {f"key {number}": SCRIPT for number in range(10_000)},
    "wide and deep": {f"{first}": [list(range(50)) for _ in range(20)] for first in range(50)},
}


class Page(HTMLParser):
    """Collects the elements of a page that could run code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str | None] = []
        self.handlers: list[str] = []
        self.images: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "script":
            self.scripts.append(values.get("src"))
        if tag == "img":
            self.images.append(values.get("src") or "")
        self.handlers += [name for name in values if name.startswith("on")]


def check(browser: FlaskClient, path: str) -> str:
    """Return the page at *path*, which must be bounded and run only the script of the pages."""
    response = browser.get(path)
    assert response.status_code == 200, (path, response.status_code)
    assert len(response.data) <= LARGEST, (path, len(response.data))
    page = Page(response.text)
    assert [str(src).partition("?")[0] for src in page.scripts] == ["/static/pages.js"], path
    assert page.handlers == [], path
    assert all(src.startswith("/") for src in page.images), path
    assert not set("\u202e\u2066\x00\x1b\x85") & set(response.text), path
    return response.text


@pytest.mark.parametrize("name", HOSTILE)
def test_data_of_any_shape_is_shown_as_text_within_bounds(
    name: str, browser: FlaskClient, operator: FlaskClient, move: Move
) -> None:
    value = HOSTILE[name]
    log_in(browser, OPERATOR_TOKEN)
    ended = created_id(operator, initial_data=value)
    move(GoTo("encode"), End({"result": value}))
    asking = created_id(operator, initial_data=value)
    move(GoTo("encode"), AwaitApproval("mail", f"{SCRIPT}{LARGE}", {"approved": "publish", BREAK_OUT[:9]: "failed"}))
    queued = created_id(operator, initial_data=value)
    move(GoTo("encode"), DispatchTask("encode", value, transitions={"success": "publish"}))

    for path in (f"/jobs/{ended}", f"/jobs/{asking}", f"/jobs/{queued}", "/", "/jobs", "/approvals", "/queues/encode"):
        check(browser, path)


def test_names_and_errors_are_shown_as_text_too(
    browser: FlaskClient, operator: FlaskClient, move: Move, store: Store, redis_url: str
) -> None:
    log_in(browser, OPERATOR_TOKEN)
    label = f"{BREAK_OUT} \u202egnp {SCRIPT}"
    labels = {f"label-{number}": label for number in range(8)}
    broken = created_id(operator, labels=labels)
    move(raised=f"{SCRIPT}{LARGE}\n{BREAK_OUT}{LARGE}")
    worker = {
        "skills": [{"name": f"{BREAK_OUT}{HIDDEN}{number}"} for number in range(3000)],
        "version": SCRIPT,
    }
    store.registry.register(f"{BREAK_OUT}{HIDDEN}", worker)
    beat = {"status": SCRIPT, "unfit": {"reason": LARGE}, "links": [{"address": SCRIPT, "state": LARGE}] * 100}
    store.registry.beat(f"{BREAK_OUT}{HIDDEN}", beat)
    queue = f"{BREAK_OUT}{HIDDEN}"
    with broker.connect(redis_url) as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        with connection.Producer(channel) as producer:
            producer.publish(LARGE, routing_key=queue, content_type="text/plain")
            producer.publish(HOSTILE["text"], routing_key=queue)
        intake = broker.Consumer(connection, [queue], prefetch=1)
        [delivery] = wait_until(lambda: intake.take(0.05))
        intake.dead_letter(delivery, reason=SCRIPT, error=LARGE)
        intake.close()

    jobs = ("/", "/jobs", f"/jobs/{broken}", f"/jobs?{urlencode({'label': f'label-1={label}'})}")
    queues = ("/queues", "/queues?idle=yes", f"/queues/{quote(queue)}", "/dead-letters")
    for path in (*jobs, *queues, "/workers"):
        assert "alert(1)" in check(browser, path)
