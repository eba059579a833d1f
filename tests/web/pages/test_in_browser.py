"""What people do on the pages, in Chromium, with all processes of an installation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from avtomatika import broker
from avtomatika.client import Client

from ...support.browser import Reports
from ...support.installation import Installation
from ...support.servers import OwnServer
from ...support.waiting import wait_until
from .conftest import login_link

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
#: Longest wait for something to appear, in milliseconds.
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, str]]:
    """An installation with the blueprints of ``studio``, and the URL of its server."""
    folder = tmp_path_factory.mktemp("studio")
    server = OwnServer(folder / "valkey")
    with Installation(server.url, folder, blueprint="studio") as installation:
        yield installation, server.url
    server.kill()


@pytest.fixture
def client(studio: tuple[Installation, str]) -> Client:
    return studio[0].client()


@pytest.fixture
def page(studio: tuple[Installation, str], chromium: Browser) -> Iterator[Page]:
    """A page that is logged in by a link. At the end nothing may be wrong in its console."""
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    reports = Reports(page)
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(login_link(studio[0].base_url, "/", studio[0].token))
    yield page
    context.close()
    assert reports.found == []


def test_a_schedule_shows_the_time_here_and_is_paused_and_run(page: Page, client: Client) -> None:
    wanted = {"blueprint": "film", "daily_at": "07:00", "timezone": "Asia/Kolkata", "initial_data": {"title": "Dune"}}
    client.put_schedule("nightly", wanted)
    page.get_by_role("link", name="Schedules").click()

    assert "07:00:00 IST" in page.locator("time[data-here]").first.inner_text()
    assert page.get_by_text("1:30 AM here").count() == 2  # Chromium's zone is UTC
    page.get_by_role("button", name="Pause nightly").click()
    page.get_by_role("button", name="Resume nightly").click()
    page.get_by_role("button", name="Run nightly").click()
    page.get_by_role("heading", level=1).wait_for()

    assert client.schedule("nightly")["last_job_id"] == page.url.rpartition("/")[2]
    client.remove_schedule("nightly")


def test_a_film_from_the_form_to_its_approval(page: Page) -> None:
    page.get_by_role("link", name="Blueprints").click()
    page.get_by_role("link", name="film").click()
    page.get_by_label("title").fill("Dune")
    page.get_by_label("quality").select_option("low")
    page.get_by_role("button", name="Start").click()

    # without a reload, the page of the job shows how it proceeds until it asks
    page.locator("#value-input summary").click()
    page.locator("#why").get_by_text("Publish 'Dune', 3 files?").wait_for()
    assert page.locator("#value-input details[open]").count() == 0  # what a person closes stays closed
    page.get_by_text("video of Dune: ok").wait_for()
    assert page.locator("#head .pill").inner_text() == "waiting for human"
    address = page.url
    page.get_by_role("link", name="Decide").click()
    page.get_by_label("Comment").fill("well done")
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Your decision was recorded: approved by").wait_for()

    page.goto(address)
    page.locator("#head .pill.good").wait_for()
    assert page.locator("#value-result .string").inner_text() == "https://films.example/Dune"
    assert "decided 'approved': well done" in page.locator("#history").inner_text()
    assert page.locator("#timeline svg[role=img]").count() >= 5


def test_a_failed_job_is_opened_from_the_overview_understood_and_run_again(page: Page, client: Client) -> None:
    job_id = client.submit("film", {"title": "Satantango", "minutes": 439})["job_id"]
    client.wait(job_id, timeout=60)

    page.get_by_role("link", name="Overview").click()
    page.locator("#failed").get_by_role("link", name=f"…{job_id[-8:]}").click()
    why = page.locator("#why").inner_text()
    assert "has 439 minutes, at most 240 are supported" in why
    page.get_by_text("ERROR 439 minutes").wait_for()
    page.get_by_role("button", name="Retry").click()
    page.wait_for_url(lambda url: job_id not in url and "/jobs/" in url)
    page.locator("#head .pill.bad").wait_for()
    assert page.get_by_role("link", name=f"…{job_id[-8:]}").count() >= 1
    page.locator("#tries").get_by_text("try 2").wait_for()


def test_a_dead_letter_is_requeued_and_its_job_resumed(
    page: Page, client: Client, studio: tuple[Installation, str]
) -> None:
    studio[0].kill("worker")
    job_id = client.submit("invoice", {"amount": 20})["job_id"]
    with broker.connect(studio[1]) as connection:
        intake = broker.Consumer(connection, ["charge"], prefetch=1)
        [delivery] = wait_until(lambda: intake.take(0.05))
        intake.dead_letter(delivery, reason="max_deliveries", error="it kills its worker")
        intake.close()
    studio[0].start("worker")

    page.get_by_role("link", name="Dead letters").click()
    page.get_by_text("it kills its worker").wait_for()
    page.get_by_label("Select all").check()
    page.get_by_role("button", name="Requeue selected").click()
    page.get_by_text("1 requeued").wait_for()
    assert page.get_by_text("There are no dead letters.").count() == 1

    page.goto(f"{studio[0].base_url}/jobs/{job_id}")
    page.get_by_role("button", name="Resume").click()
    page.locator("#head .pill.good").wait_for()
    assert page.locator("#value-result").get_by_text("R-20").count() == 1


def test_500_failed_jobs_are_run_again_at_once(page: Page, client: Client) -> None:
    for first in range(0, 500, 100):
        data = [{"title": f"Shoah {first + n}", "minutes": 566} for n in range(100)]
        client.submit_many("film", [{"initial_data": each, "labels": {"batch": "long"}} for each in data])
    wait_until(lambda: _count(client, "failed") == 500, 120, "500 failed jobs")

    page.goto(page.url.partition("/jobs")[0].rstrip("/") + "/jobs?status=failed&label=batch=long")
    page.get_by_label("Which jobs").select_option("all that match")
    page.get_by_role("button", name="Retry").click()
    page.get_by_text("500 jobs, of 1 blueprint").wait_for()
    page.get_by_role("button", name="Retry").click()

    page.get_by_text("500 continued from the state that failed").wait_for()
    wait_until(lambda: _count(client, "failed") == 1000, 120, "500 more failed jobs")


def test_approvals_are_found_and_approved_at_once(page: Page, client: Client) -> None:
    ids = [client.submit("film", {"title": title, "minutes": 90})["job_id"] for title in ("Ran", "Ran 2", "Brazil")]
    wait_until(lambda: all(client.job(job_id)["status"] == "waiting_for_human" for job_id in ids), 60, "questions")

    page.get_by_role("link", name="Approvals").click()
    page.get_by_label("Text of the question").fill("'ran")
    page.get_by_role("button", name="Filter").click()
    page.get_by_label("Select all").check()
    assert page.locator("section.asks input[type=checkbox]:checked").count() == 2
    page.locator("#bulk").get_by_role("button", name="Approve").click()
    page.get_by_text("2 jobs, of 1 blueprint").wait_for()
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("2 approved").wait_for()

    assert [client.wait(job_id, timeout=60)["status"] for job_id in ids[:2]] == ["finished", "finished"]
    assert client.job(ids[2])["status"] == "waiting_for_human"


def _count(client: Client, status: str) -> int:
    counts: dict[str, int] = client.count_jobs(label="batch=long")["counts"]
    return counts.get(status, 0)


def test_a_drained_worker_takes_nothing_until_it_is_resumed(page: Page, client: Client) -> None:
    page.get_by_role("link", name="Workers").click()
    page.get_by_role("button", name="Drain").click()
    page.locator("#workers .pill", has_text="draining").wait_for()
    job_id = client.submit("invoice", {"amount": 7})["job_id"]
    page.goto(f"{page.url.partition('/workers')[0]}/jobs/{job_id}")
    page.locator("#head .pill", has_text="waiting for worker").wait_for()

    page.get_by_role("link", name="Workers").click()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Drain").wait_for()
    assert client.wait(job_id, timeout=60)["status"] == "finished"
