"""Markdown documents as runnable code blocks with expected output, files and links."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .reaper import RUN_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
)

#: A line that stands for the file that it names, as the builder of the site includes it.
_SNIPPET = re.compile(r'^--8<-- "(.+)"\n', re.MULTILINE)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: URL of the API in documents.
_PRINTED_URL = "http://localhost:8080"
#: The line above a block that is a file ends with its name.
_FILE = re.compile(r"`([\w./-]+\.py)`:$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
#: Values that change with each run, in the order of replacement.
_PASSING = (
    (r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", "TIMESTAMP"),
    (r"\b\d\d:\d\d:\d\d\.\d{3}Z?\b", "TIME"),
    (r"\bg0-[0-9A-Z]{26}\b", "JOB"),
    (r'@[0-9a-f]{8}\b|(?<="plan": ")[0-9a-f]{8}|(?<="plan":")[0-9a-f]{8}', "@PLAN"),
    (r"\b[A-Za-z0-9_-]+-[0-9a-f]{8}\b", "WORKER"),
    (r"\b\d+ ms\b", "N ms"),
    (r'("duration_ms": ?)\d+', r"\g<1>0"),
    (r'("server": ?)"[\d.]+"', r'\g<1>"SERVER"'),
)


@dataclass(frozen=True)
class Block:
    """A code block. *file* is its name if it is to be saved, *output* the documented output of a shell block."""

    document: Path
    line: int
    language: str
    text: str
    file: str | None = None
    output: Block | None = None

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks(document: Path) -> list[Block]:
    """All code blocks of *document*; a block that is the output of the one before it is attached to that."""
    text = _SNIPPET.sub(lambda match: (ROOT / match[1]).read_text(), document.read_text())
    found: list[Block] = []
    end = 0
    for match in _FENCE.finditer(text):
        between, end = text[end : match.start()], match.end()
        language, body = match.groups()
        above = between.strip().rpartition("\n")[2]
        file = _FILE.search(above)
        block = Block(document, text.count("\n", 0, match.start()) + 1, language, body, file and file[1])
        if found and found[-1].language == "sh" and language in ("text", "json") and not between.strip():
            last = found.pop()
            block = Block(last.document, last.line, last.language, last.text, output=block)
        found.append(block)
    return found


def save_files(document: Path, folder: Path) -> None:
    """Write every block of *document* that is a file to where its document says, below *folder*."""
    for block in blocks(document):
        if block.file is not None:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text)


def shell_environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a reader's shell: our command on the path, and curl without progress."""
    (folder / ".curlrc").write_text("silent\nshow-error\n")
    beside = str(Path(sys.executable).parent)
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", RUN_VARIABLE) if name in os.environ}
    return {**kept, "PATH": f"{beside}:{os.environ['PATH']}", "CURL_HOME": str(folder), **more}


def run_blocks(
    chosen: Sequence[Block], *, folder: Path, environment: Mapping[str, str], url: str
) -> Iterator[tuple[int, str]]:
    """Type *chosen* into one shell in *folder*, where the API is at *url*; yields status and words of each."""
    end = "=== end of a block:"
    script = "".join(f'{block.text}\necho "{end} $?"\n' for block in chosen)
    done = subprocess.run(
        ["bash", "-c", script.replace(_PRINTED_URL, url)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
    )
    for said, status in re.findall(rf"(.*?){end} (\d+)\n", done.stdout, re.DOTALL):
        yield int(status), said.replace(url, _PRINTED_URL)


def lasting(text: str, language: str) -> object:
    """*text* without values that change with each run: times, ids and the like."""
    text = _lasting(text)
    return json.loads(text) if language == "json" else text


def _lasting(text: str) -> str:
    for pattern, word in _PASSING:
        text = re.sub(pattern, word, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def links(document: Path) -> list[str]:
    """Return the targets of links and pictures in *document*, except URLs."""
    prose = _FENCE.sub("", document.read_text())
    return [link for link in _LINK.findall(prose) if "://" not in link]


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings of *document*."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(document: Path, heading: str) -> str:
    """The text below *heading* up to the next one of its rank."""
    _, _, rest = document.read_text().partition(f"\n## {heading}\n")
    return rest.partition("\n## ")[0]


def subsections(document: Path) -> list[tuple[str, str]]:
    """Return heading and text of every section and subsection of *document*."""
    parts = re.split(r"^#+ (.+)$", _FENCE.sub("", document.read_text()), flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def table(text: str) -> list[list[str]]:
    """Cells of the rows of the (only) table in *text*, without its head."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]
