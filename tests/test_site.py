"""The site of the documents: generated references are complete, and its pages load nothing from other hosts."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import avtomatika
from avtomatika.cli.main import cli

from .support.documents import ROOT

pytestmark = pytest.mark.docs

BUILDER = ROOT / "docs" / "builder"


@pytest.fixture
def reference(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of ``docs/builder`` that the test names."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BUILDER))
    yield importlib.import_module(request.param)
    for name in {*sys.modules} - before:
        if str(BUILDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def of(name: str) -> Any:
    return pytest.mark.parametrize("reference", [name], indirect=True)


@of("cli_reference")
def test_every_command_and_option_is_in_the_reference(reference: ModuleType) -> None:
    text = reference.commands()

    for path, command in commands(cli, "avtomatika"):
        assert f"`{path}`\n" in text
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.opts[-1] in text, (path, option.opts)


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from commands(inner, f"{path} {name}")
    yield from [] if path == "avtomatika" else [(path, command)]


@of("http_reference")
def test_every_operation_and_schema_is_in_the_reference(reference: ModuleType) -> None:
    text, document = reference.operations(), reference.api_document()
    headings = {f"{method.upper()} {path}" for path, each in document["paths"].items() for method in each} & set(
        re.findall(r"^### `(.+)`$", text, re.MULTILINE)
    )

    operations = [each for path in document["paths"].values() for name, each in path.items() if name != "parameters"]
    assert len(headings) == len(operations) > 50
    assert [each["summary"] for each in operations if each["summary"] not in text] == []
    linked = set(re.findall(r"\]\(#([a-z]+)\)", text))
    assert linked <= {name.lower() for name in document["components"]["schemas"]}
    assert "`PATCH /_worker/workers/{worker_id}`" in reference.worker_protocol()


@of("python_reference")
def test_every_public_name_is_in_the_reference_with_its_docstring(reference: ModuleType) -> None:
    text = reference.python_names()
    names = re.findall(r"^### `(\w+)`\n+(.*)", text, re.MULTILINE)

    assert {name for name in avtomatika.__all__ if not name.startswith("_")} <= {name for name, _ in names}
    assert [name for name, below in names if not below or below.startswith("#")] == []
    assert "#### `Client.submit`" in text  # made from an operation at run time
    assert ":class:" not in text


@of("settings_reference")
def test_the_settings_are_those_of_the_guides(reference: ModuleType) -> None:
    text = reference.settings()

    for name in ("REDIS_URL", "WORKER_CONCURRENCY", "S3_BUCKET"):
        assert f"\n| `{name}`" in text
    targets = re.findall(r"\]\(\.\./([\w-]+\.md)", text)
    assert "connections.md" in targets
    assert [name for name in targets if not (ROOT / "docs" / name).exists()] == []


def build(*options: str) -> subprocess.CompletedProcess[str]:
    """Build as ``make docs`` does, with further *options*."""
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    planned = subprocess.run(["make", "-n", "docs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (arguments,) = re.findall(r"-m (mkdocs build .*)", planned)
    command = [sys.executable, "-m", *arguments.split(), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build("--site-dir", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("link", ["missing.md", "#missing"])
def test_a_broken_link_fails_the_build(tmp_path: Path, link: str) -> None:
    config = f"INHERIT: {ROOT}/mkdocs.yml\ndocs_dir: docs\nsite_dir: site\nhooks: []\nnav: [index.md]\n"
    (tmp_path / "mkdocs.yml").write_text(config)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Title\n\n[to the title](#title)\n")
    sound = build("--config-file", str(tmp_path / "mkdocs.yml"))
    (tmp_path / "docs" / "index.md").write_text(f"# Title\n\n[nowhere]({link})\n")
    broken = build("--config-file", str(tmp_path / "mkdocs.yml"))

    assert (sound.returncode, broken.returncode) == (0, 1), sound.stdout + sound.stderr
    assert link in broken.stderr


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img|link|iframe)\b[^>]*(?:src|href)="(?:https?:)?//[^"]*"')
    pages = sorted(site.rglob("*.html"))

    assert len(pages) > 20
    assert [(page.name, loaded.findall(page.read_text())) for page in pages if loaded.search(page.read_text())] == []
    styles = [page.read_text() for page in site.rglob("*.css")]
    assert [style for style in styles if re.search(r"(?:@import|url\()\W*https?:", style)] == []


def test_generated_pages_and_pages_outside_the_folder_can_be_searched(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text()

    for location in (
        "reference/cli.html#avtomatika-up",
        "reference/python.html#clientsubmit",
        "contributing.html#style",
    ):
        assert f'"location":"{location}"' in index
    assert "generated:" not in index


def test_lists_tables_and_code_are_not_shown_as_text(site: Path) -> None:
    wrong = re.compile(r"<p>(?:[^<]*\n)?(?:- |\d+\. |\| |```)[^\n]*|\\&lt;")
    found = [(page.name, match[0]) for page in site.rglob("*.html") for match in wrong.finditer(page.read_text())]

    assert found == []
