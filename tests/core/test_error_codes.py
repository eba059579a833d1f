"""The documents list every error code of a job."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CODE = re.compile(r"""(?:error\(\s*|"code":\s|^\s*code = |^[A-Z_]+ = )"([A-Z_]+)"[,)\n]""", re.MULTILINE)
DOCUMENTED = re.compile(r"^\| `([A-Z_]+)` \|", re.MULTILINE)


def test_the_documents_list_every_error_code() -> None:
    sources = [*(ROOT / "avtomatika/core").rglob("*.py"), ROOT / "avtomatika/errors.py"]
    codes = {code for source in sources for code in CODE.findall(source.read_text())}
    section = (ROOT / "docs/blueprints.md").read_text().partition("## Error codes")[2].partition("\n## ")[0]

    assert "HANDLER_RAISED" in codes
    assert set(DOCUMENTED.findall(section)) == codes
