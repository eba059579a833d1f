"""``avtomatika completion``: scripts of click, installed for a user."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ..support.cli import Run, as_process
from ..support.documents import shell_environment

#: Completes what bash would complete on a tab, in a shell that has read the user's .bashrc.
ASK_BASH = """
COMP_WORDS=(avtomatika {words}); COMP_CWORD={place}
function_name="$(complete -p avtomatika | sed 's/.*-F \\([^ ]*\\) .*/\\1/')"
"$function_name" avtomatika
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_bash_completes_after_an_installation(run: Run, project: Path) -> None:
    (project / ".bashrc").write_text("# no line break at the end")

    codes = [run("completion", "install", "bash", HOME=str(project)).code for _ in range(2)]

    assert codes == [0, 0]
    lines = (project / ".bashrc").read_text().splitlines()
    assert lines == ["# no line break at the end", '. "$HOME/.local/share/avtomatika/completion.bash"']
    assert {"queues", "top", "completion"} <= set(_completed(project, "''", 1))
    assert set(_completed(project, "queues p", 2)) == {"pause", "peek", "purge"}
    assert "--oldest-first" in _completed(project, "jobs list --old", 3)


def _completed(home: Path, words: str, place: int) -> list[str]:
    script = '. "$HOME/.bashrc"\n' + ASK_BASH.format(words=words, place=place)
    environment = shell_environment(home) | {"HOME": str(home)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_the_script(run: Run, project: Path, shell: str) -> None:
    assert run("completion", "install", shell, HOME=str(project)).code == 0

    script = next(path for path in project.rglob("*") if path.is_file() and "_AVTOMATIKA_COMPLETE" in path.read_text())
    assert script.read_text() == run("completion", "show", shell).stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], check=True)


def test_the_names_of_commands_are_completed_without_importing_them(project: Path) -> None:
    environment = {"COMP_WORDS": "avtomatika q", "COMP_CWORD": "1", "_AVTOMATIKA_COMPLETE": "zsh_complete"}

    done = as_process(project)(**environment)

    assert done.stdout.splitlines() == ["plain", "queues", "List, inspect, pause and purge queues."]
