"""Processes of a session, read from ``/proc``: a worker and its forks, dead or alive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kin:
    """A process of a session."""

    pid: int
    parent: int

    def has_open(self, folder: Path) -> bool:
        """Return True if the process has a file in *folder* open."""
        try:
            return any(str(link.readlink()).startswith(f"{folder}/") for link in Path(f"/proc/{self.pid}/fd").iterdir())
        except OSError:  # it ended, or closed the file
            return False


def session(leader: int) -> list[Kin]:
    """Return the processes of the session of *leader*: a session outlives its leader, and orphans stay in it."""
    found = [_kin_of(folder.name, leader) for folder in Path("/proc").glob("[0-9]*")]
    return [kin for kin in found if kin is not None]


def zygote_of(leader: int) -> int | None:
    """Return the process that forks the others: the only child of *leader*."""
    return next((kin.pid for kin in session(leader) if kin.parent == leader), None)


def _kin_of(pid: str, leader: int) -> Kin | None:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, parent, _, its_leader = status.rpartition(")")[2].split()[:4]
    return Kin(int(pid), int(parent)) if int(its_leader) == leader and state not in "ZX" else None
