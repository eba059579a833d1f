"""The installation that ``avtomatika up`` runs in the working directory: its URL, as other programs find it."""

import json
import os
from pathlib import Path

#: Relative to the working directory.
VAR = Path("var")


def announced(var: Path = VAR) -> dict[str, str | int] | None:
    """Return ``{"pid", "url"}`` of the ``up`` that runs in this folder, once its web answers."""
    try:
        found: dict[str, str | int] = json.loads((var / "up.json").read_text())
    except (OSError, ValueError):
        return None
    return found if _is_alive(int(found["pid"])) else None


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
