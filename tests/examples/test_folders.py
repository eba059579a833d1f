"""Each example has a document with its command and its picture, and skills for its tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..support.examples import EXAMPLES, blueprints_of, worker_of

NAMES = sorted(client.parent.name for client in EXAMPLES.glob("*/client.py"))


@pytest.mark.parametrize("name", NAMES)
def test_the_pictures_show_the_blueprints_as_they_are(name: str) -> None:
    for blueprint in blueprints_of(name).values():
        shown = (EXAMPLES / name / f"{blueprint.name}.svg").read_text()
        for state in blueprint.plan.states.values():
            assert f">{state.name}</text>" in shown
            for task_type in state.task_types:
                assert f">task: {task_type}</text>" in shown


@pytest.mark.parametrize("name", NAMES)
def test_the_document_has_the_command_and_the_pictures(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text()

    assert f"make example NAME={name}\n" in text
    assert [each for each in blueprints_of(name) if f"]({each}.svg)" not in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_worker_has_the_skills_of_the_tasks(name: str) -> None:
    wanted = {task for blueprint in blueprints_of(name).values() for task in blueprint.plan.task_types}

    assert wanted - set(worker_of(name).skills) == celery_tasks(EXAMPLES / name)


def celery_tasks(example: Path) -> set[str]:
    """Return the skills that the example leaves to Celery workers."""
    settings = example / ".env"
    lines = settings.read_text().splitlines() if settings.exists() else []
    return {line.partition('="')[2].partition("=")[0] for line in lines if line.startswith("CELERY_TASKS")}
