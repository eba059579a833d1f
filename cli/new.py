"""``avtomatika new``: a project to begin with, whose test passes."""

from __future__ import annotations

from pathlib import Path

import click

from avtomatika.core.names import is_user_name
from avtomatika.errors import ConflictError, InvalidRequestError
from avtomatika.tokens import new_token

_TEMPLATES = Path(__file__).parent / "project"
#: Template -> where it goes; ``{module}`` is the project's name as Python can import it.
_FILES = {
    "blueprints/blueprint.py": "blueprints/{module}.py",
    "worker.py": "worker.py",
    "tests/test_blueprint.py": "tests/test_{module}.py",
    "pytest.ini": "pytest.ini",
    "Procfile": "Procfile",
    "workers.toml": "workers.toml",
    "env": ".env",
    "env.example": ".env.example",
    "gitignore": ".gitignore",
}
#: Files that hold secrets.
_SECRET = ("workers.toml", "env")


@click.command("new")
@click.argument("name")
def command(name: str) -> None:
    """Make a project: a folder NAME with a blueprint, a worker, a test, and what else belongs to one."""
    if not is_user_name(name):
        raise InvalidRequestError(f"the name {name!r} may hold letters, digits, '_' and '-', and not begin with '_'")
    folder = Path(name)
    if folder.exists():
        raise ConflictError(f"{folder} is there already")
    made = _make(folder, name)
    click.echo(f"made {folder}/ with {', '.join(made)}", err=True)
    click.echo("next:", err=True)
    for line in (
        f"cd {folder}",
        "python -m pytest                                      # its test, in memory",
        "avtomatika up                                         # everything, in this terminal",
        f"avtomatika jobs submit {name} name=Ada --wait",
    ):
        click.echo(f"  {line}", err=True)


def _make(folder: Path, name: str) -> list[str]:
    """Write all files; answers their names."""
    words = {"name": name, "worker_id": f"{name}-worker-1", "worker_token": new_token()}
    module = name.replace("-", "_").lower()
    made = []
    for template, target in _FILES.items():
        path = folder / target.format(module=module if module.isidentifier() else f"blueprint_{module}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600 if template in _SECRET else 0o666)
        path.write_text(_filled(_TEMPLATES / f"{template}.tmpl", words))
        made.append(str(path.relative_to(folder)))
    return made


def _filled(template: Path, words: dict[str, str]) -> str:
    text = template.read_text()
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    return text
