"""All variables on one page, from the tables of the guides that describe them."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
#: Guide -> heading of its variables on the page.
GUIDES = {"operations.md": "Web, orchestrators and commands", "workers.md": "Workers", "files.md": "Files in S3"}

_TABLE = re.compile(r"^## Variables\n.*?(^\|.*?)\n\n", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([\w-]+\.md)?(#[\w-]+)?\)")


def settings() -> str:
    """Return the tables, with links that are right in the folder of the page."""
    return "\n\n".join(f"## {heading}\n\n{_table(guide)}" for guide, heading in GUIDES.items())


def _table(guide: str) -> str:
    match = _TABLE.search((DOCS / guide).read_text() + "\n\n")
    if match is None:
        raise ValueError(f"{guide} has no table of variables")
    return _LINK.sub(lambda link: f"](../{link[1] or guide}{link[2] or ''})", match[1])
