"""The example ``documents``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avtomatika.testing import run

from ..support.examples import blueprints_of, run_example, worker_of


def test_a_draft_is_returned_and_a_complete_document_is_published(tmp_path: Path) -> None:
    said = run_example("documents", tmp_path / "copy")

    assert "bob's draft is failed, to be written: ['TODO" in said
    assert "bob may not: only clients with the role 'editor' may decide" in said
    assert "anna may not: the data of the decision: category 'poems'" in said
    [file] = (tmp_path / "copy" / "published").rglob("*.md")
    assert f"'file': '{file.relative_to(tmp_path / 'copy')}', 'approved_by': 'anna'" in said
    asked = re.search(r"Publish '(.*)', (\d+) words\?", said)
    assert asked is not None
    heading, _, text = file.read_text().partition("\n\n")
    assert (heading, len(text.split())) == (f"# {asked[1]}", int(asked[2]))


def test_the_chief_is_asked_when_no_editor_decides_within_three_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    decision = ("approved", {"category": "news"})

    job = run(
        blueprints_of("documents")["document"],
        {"title": "News", "text": "Rain."},
        skills=worker_of("documents"),
        approvals={"escalation": decision},
    )

    assert job.states == ("checking", "review", "escalation", "publishing", "published")
    assert job.seconds >= 3 * 24 * 3600
    assert (tmp_path / job.result["file"]).is_file()
