"""Processes by their session, as ``/proc`` tells them: a worker, and whoever it has forked, whether it lives or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kin:
    """A process of somebody's session."""

    pid: int
    parent: int

    def has_open(self, folder: Path) -> bool:
        """Whether something in *folder* is open in it."""
        try:
            return any(str(link.readlink()).startswith(f"{folder}/") for link in Path(f"/proc/{self.pid}/fd").iterdir())
        except OSError:  # it ended this moment, or closed that file
            return False


def session(leader: int) -> list[Kin]:
    """Who lives in the session that *leader* has begun: that outlives its leader, and is not left by orphans."""
    found = [_kin_of(folder.name, leader) for folder in Path("/proc").glob("[0-9]*")]
    return [kin for kin in found if kin is not None]


def zygote_of(leader: int) -> int | None:
    """Who forks the others: the one child of *leader*."""
    return next((kin.pid for kin in session(leader) if kin.parent == leader), None)


def _kin_of(pid: str, leader: int) -> Kin | None:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, parent, _, its_leader = status.rpartition(")")[2].split()[:4]
    return Kin(int(pid), int(parent)) if int(its_leader) == leader and state not in "ZX" else None
