"""The examples, run as a user runs them."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from avtomatika.loading import load_blueprints, load_object

from .cli import clean_environment
from .documents import ROOT, blocks, lasting
from .processes import processes_in

EXAMPLES = ROOT / "examples"


def run_example(name: str, folder: Path, *, passing: str = "nothing changes") -> str:
    """Run what ``make example`` runs with its files in the new *folder*; return its output, which the README shows.

    What matches *passing* changes with each run.
    """
    make = ["make", "--no-print-directory", "-n", "example", f"NAME={name}", f"FOLDER={folder}"]
    planned = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    command = [sys.executable, *shlex.split(planned)[1:]]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=110)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert processes_in(folder) == set()
    said = done.stdout.partition("\n")[2]  # the first line names the folder
    [shown] = [block.text for block in blocks(EXAMPLES / name / "README.md") if block.language == "text"]
    assert lasting(re.sub(passing, "", said), "text") == lasting(re.sub(passing, "", shown), "text"), said
    return said


def blueprints_of(example: str) -> dict[str, Any]:
    return {each.name: each for each in load_blueprints(str(EXAMPLES / example / "blueprints"))}


def worker_of(example: str) -> Any:
    with contextlib.chdir(EXAMPLES / example):  # where its modules are found
        return load_object("worker.py:worker")
