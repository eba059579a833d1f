"""The example ``celery_moved``."""

from __future__ import annotations

from pathlib import Path

from avtomatika.testing import run

from ..support.examples import blueprints_of, run_example, worker_of


def test_the_job_has_the_result_of_the_celery_app_and_a_celery_worker_does_one_task(tmp_path: Path) -> None:
    said = run_example("celery_moved", tmp_path / "copy").splitlines()

    before, after = (line.partition(":")[2].strip() for line in said[:2])
    assert before == after
    assert "by avtomatika's worker, 1 by Celery's" in said[2]


def test_the_page_has_every_image_in_order() -> None:
    mails = []
    skills = {**worker_of("celery_moved").skills, "send_mail": lambda params: mails.append(params)}
    images = [f"{number}.jpg" for number in range(12)]

    job = run(
        blueprints_of("celery_moved")["gallery"], {"title": "Lakes", "images": images, "to": "ada"}, skills=skills
    )

    assert job.states == ("start", "collect", "mail", "done")
    assert [part.partition("@")[0] for part in mails[0]["page"].split("<img src=")[1:]] == images
