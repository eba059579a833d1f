"""Hooks of MkDocs: pages from other folders, links that leave ``docs/``, and references generated from the code."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cli_reference
import http_reference
import python_reference
import settings_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
#: Pages of the site that are files of the checkout's folder.
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
#: ``<!-- generated: name -->`` in a page -> what replaces it.
GENERATED: dict[str, Callable[[], str]] = {
    "commands": cli_reference.commands,
    "operations": http_reference.operations,
    "worker protocol": http_reference.worker_protocol,
    "python": python_reference.python_names,
    "settings": settings_reference.settings,
}

_GENERATED = re.compile(r"^<!-- generated: ([a-z ]+) -->$", re.MULTILINE)
#: A link whose text is the name of a file.
_FILE_NAME = re.compile(r"\[([\w-]+\.md)\]\((?=[\w-]+\.md)")
#: A link to a file outside ``docs/``, from a page in that folder, or from one in a folder below it.
_OUTSIDE = tuple(re.compile(rf"\]\((?:\.\./){{{up}}}(?!\.\./)([^)#]+)(#[^)]*)?\)") for up in (1, 2))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.mdx_configs["toc"] = {"permalink": True, "slugify": slug}
    guides = next(section["Guides"] for section in config.nav or [] if "Guides" in section)
    guides += [page.name for page in sorted((ROOT / "docs").glob("*.md")) if repr(page.name) not in str(config.nav)]
    return config


def slug(heading: str, separator: str) -> str:
    """Return the anchor that GitHub gives to *heading*, so that links work in both places."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    for name, page in PAGES.items():
        text = (ROOT / name).read_text().replace("](docs/", "](")
        for other, its_page in PAGES.items():
            text = text.replace(f"]({other}", f"]({its_page}")
        files.append(File.generated(config, page, content=text))
    for name in sorted(_files_linked_from(files)):
        files.append(File.generated(config, f"source/{name}", abs_src_path=str(ROOT / name)))
    return files


def _files_linked_from(files: Files) -> set[str]:
    """Return the files outside ``docs/`` that pages link to."""
    pages = [each for each in files.documentation_pages() if each.generated_by is None]
    return {match[1] for page in pages for match in _outside(page).finditer(page.content_string)} - set(PAGES)


def _outside(page: File) -> re.Pattern[str]:
    return _OUTSIDE[page.src_uri.count("/")]


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    above = "../" * page.file.src_uri.count("/")
    markdown = _outside(page.file).sub(partial(_inside, above=above), _FILE_NAME.sub(_title, markdown))
    return _GENERATED.sub(lambda match: GENERATED[match[1]](), markdown)


def _title(match: re.Match[str]) -> str:
    """Return the beginning of the link with the title of the page instead."""
    page = ROOT / "docs" / match[1]
    title = page.read_text().partition("\n")[0].removeprefix("# ") if page.exists() else match[1]
    return f"[{title}]("


def _inside(match: re.Match[str], *, above: str) -> str:
    return f"]({above}{PAGES.get(match[1], f'source/{match[1]}')}{match[2] or ''})"
