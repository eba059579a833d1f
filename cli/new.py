"""``avtomatika new``: create a project whose test passes."""

from pathlib import Path

import click

from avtomatika import __version__
from avtomatika.core.names import is_user_name
from avtomatika.errors import ConflictError, InvalidRequestError
from avtomatika.tokens import new_token

_TEMPLATES = Path(__file__).parent / "project"
#: Template -> target; ``{module}`` is the project's name as a Python module.
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
    "README.md": "README.md",
    "requirements.txt": "requirements.txt",
    "Dockerfile": "Dockerfile",
    "dockerignore": ".dockerignore",
}
#: Files that hold secrets.
_SECRET = ("workers.toml", "env")


@click.command("new")
@click.argument("name")
def command(name: str) -> None:
    """Create a project in a new folder NAME: blueprint, worker, test, settings, and files to deploy it."""
    if not is_user_name(name):
        raise InvalidRequestError(f"invalid name {name!r}: use letters, digits, '_' and '-', and do not start with '_'")
    folder = Path(name)
    if folder.exists():
        raise ConflictError(f"{folder} already exists")
    made = _make(folder, name)
    click.echo(f"created {folder}/ with {', '.join(made)}", err=True)
    click.echo("next:", err=True)
    for line in (
        f"cd {folder}",
        "python -m pytest                                      # run its test in memory",
        "avtomatika up                                         # run everything in this terminal",
        f"avtomatika jobs submit {name} name=Ada --wait",
    ):
        click.echo(f"  {line}", err=True)


def _make(folder: Path, name: str) -> list[str]:
    """Write all files; return their names."""
    words = {"name": name, "worker_id": f"{name}-worker-1", "worker_token": new_token(), "version": __version__}
    module = name.replace("-", "_").lower()
    made = []
    for template, target in _FILES.items():
        path = folder / target.format(module=module if module.isidentifier() else f"blueprint_{module}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600 if template in _SECRET else 0o666)
        text = (_TEMPLATES / f"{template}.tmpl").read_text()
        for word, value in words.items():
            text = text.replace("{{" + word + "}}", value)
        path.write_text(text)
        made.append(str(path.relative_to(folder)))
    return made
