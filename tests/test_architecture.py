"""Import rules between packages and the purity of the core, read from the source, so that lazy imports count."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: Room -> rooms of ours that it may import, itself not counted. Single files are rooms too.
MAY_IMPORT = {
    "errors": set(),
    "transport": set(),
    "local_files": set(),
    "local_installation": set(),
    "addresses": set(),
    "core": {"errors"},
    "schemas": {"core", "errors"},
    "environment": {"errors"},
    "settings": {"environment", "core", "errors"},
    "logs": {"core"},
    "tracing": {"environment", "errors"},
    "tokens": {"core", "errors"},
    "loading": {"core", "errors"},
    "drawing": {"errors"},
    "log_limits": set(),
    "stop_signals": set(),
    "metrics": {"environment", "transport"},
    "diagnosis": {"store", "tokens", "core", "errors"},
    "client": {
        "addresses",
        "environment",
        "job_server",
        "local_files",
        "local_installation",
        "settings",
        "tokens",
        "tracing",
        "store",
        "web",
        "schemas",
        "core",
        "errors",
    },
    "job_server": {"archive", "store", "broker", "files", "loading", "settings", "tokens", "core", "errors"},
    "mcp": {"client", "core", "errors"},
    "broker": {"transport", "schemas", "core", "errors"},
    "archive": {"store", "core", "errors"},
    "store": {"transport", "tracing", "schemas", "core", "errors"},
    "orchestrator": {
        "store",
        "broker",
        "files",
        "log_limits",
        "logs",
        "metrics",
        "tracing",
        "schemas",
        "core",
        "errors",
    },
    "files": {"environment", "schemas", "core", "local_files", "errors"},
    "worker": {
        "client",
        "broker",
        "files",
        "loading",
        "addresses",
        "environment",
        "local_files",
        "logs",
        "metrics",
        "stop_signals",
        "tracing",
        "schemas",
        "core",
        "errors",
    },
}
#: Top-level packages; the tests below state what they must not import.
TOPS = {"cli", "web", "testing", "pytest_plugin"}
#: Packages that run blueprints in memory, and the client that runs the app of the web in its own process.
MAY_TEST = {("pytest_plugin", "testing"), ("cli", "testing"), ("client", "web")}
#: Third-party package -> the rooms that alone may import it.
ONLY_IN = {
    "kombu": {"transport", "broker"},
    "sqlalchemy": {"archive"},
    "redis": {"transport", "store"},
    "boto3": {"files"},
    "botocore": {"files"},
    "s3transfer": {"files"},
    "click": {"cli"},
    "rich": {"cli"},
    "flask": {"web"},
    "flask_smorest": {"web"},
    "flask_limiter": {"web"},
    "httpx": {"client"},
    "environs": {"environment"},
    "jsonschema": {"core"},
    "cronsim": {"core"},
    "itsdangerous": {"web"},
    "opentelemetry": {"tracing"},
    "mcp": {"mcp"},
}
#: The only places that may read Settings.
COMPOSITION_ROOTS = (
    "cli/",
    "web/wsgi.py",
    "avtomatika/job_server.py",
    "avtomatika/client/direct.py",
    "avtomatika/worker/run.py",
    "avtomatika/testing/",
    "avtomatika/settings.py",
)
#: Modules that the pure core must not import: I/O, the clock, random numbers.
IMPURE = {
    "asyncio",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
}
#: Types of values in those modules: converting them to and from JSON touches nothing.
PURE = {"uuid.UUID", "pathlib.Path"}
#: Rooms that decide when something is over.
HAVE_DEADLINES = {"broker", "orchestrator", "store", "tokens", "transport", "web"}
#: Ids hold the time of day; the age of a file is by the clock of the host that wrote it.
MAY_READ_THE_CLOCK = {"avtomatika/store/ids.py", "avtomatika/tokens/reloading_toml.py"}
#: Calls that read the clock through a module that may be imported for its types.
CLOCKS = {"now", "utcnow", "today"}


@dataclass(frozen=True)
class Import:
    """*target* imported in *file*, which belongs to *room*; relative imports are resolved."""

    file: str
    line: int
    room: str
    target: str

    @property
    def room_of_target(self) -> str | None:
        """The imported package of this project, or None for a third-party package."""
        package, *rest = self.target.split(".")
        return rest[0] if package == "avtomatika" and rest else None

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.target}"


def sources() -> list[Path]:
    return sorted(path for folder in ("avtomatika", "cli", "web") for path in (ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> list[str]:
    """``cli/up.py`` as ``["avtomatika", "cli", "up"]``, the way it is installed."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return parts if parts[0] == "avtomatika" else ["avtomatika", *parts]


def imports_of(path: Path) -> Iterator[Import]:
    module = module_of(path)
    package = module[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *filter(None, [node.module])])
            targets = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            yield Import(str(path.relative_to(ROOT)), node.lineno, module[1], target)


IMPORTS = [found for path in sources() for found in imports_of(path) if path != ROOT / "avtomatika" / "__init__.py"]


def test_rooms_import_only_the_rooms_below_them() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if found.room in MAY_IMPORT
        and found.room_of_target not in (None, "__version__", found.room, *MAY_IMPORT[found.room])
    ]

    assert wrong == []


def test_only_the_broker_and_the_store_use_the_transport() -> None:
    wrong = [str(found) for found in IMPORTS if found.room_of_target == "transport" and found.room in TOPS]

    assert wrong == []


def test_every_room_is_known_to_this_test() -> None:
    rooms = {module_of(path)[1] for path in sources()} - {"__init__"}

    assert rooms - TOPS <= set(MAY_IMPORT)


def test_nothing_below_imports_the_command_line_the_web_or_testing() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if found.room_of_target in TOPS - {found.room} and (found.room, found.room_of_target) not in MAY_TEST
    ]

    assert wrong == []


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_is_imported_only_in_its_rooms(package: str) -> None:
    wrong = [
        str(found) for found in IMPORTS if found.target.split(".")[0] == package and found.room not in ONLY_IN[package]
    ]

    assert wrong == []


def test_only_composition_roots_read_settings() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if found.target.startswith("avtomatika.settings") and not found.file.startswith(COMPOSITION_ROOTS)
    ]

    assert wrong == []


def test_the_command_line_and_the_web_import_themselves_relatively() -> None:
    """They are installed under another name than their folder's."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and module_of(path)[1] in ("cli", "web")
        and (
            (node.module or "").split(".")[:2] in (["avtomatika", "cli"], ["avtomatika", "web"])
            or node.level >= len(module_of(path)) - 1
        )
    ]

    assert wrong == []


def test_the_core_imports_nothing_that_touches_the_world() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if found.room == "core" and found.target.split(".")[0] in IMPURE and found.target not in PURE
    ]

    assert wrong == []


def test_the_core_reads_no_clock() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        if module_of(path)[1] == "core"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS
    ]

    assert wrong == []


def test_deadlines_go_by_the_clock_of_the_server() -> None:
    """Hosts' clocks may be wrong: where jobs, tokens and retention are decided, the time of day is the server's."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        if module_of(path)[1] in HAVE_DEADLINES and path.relative_to(ROOT).as_posix() not in MAY_READ_THE_CLOCK
        for node in ast.walk(ast.parse(path.read_text()))
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "time"
            and {"time", "time_ns"} & {a.name for a in node.names}
        )
        or (isinstance(node, ast.Attribute) and ast.unparse(node) in ("time.time", "time.time_ns"))
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in ("datetime.now", "datetime.today", "date.today"))
    ]

    assert wrong == []


def test_no_file_is_named_after_nothing() -> None:
    wrong = [path.name for path in sources() if path.stem in ("utils", "util", "helpers", "common", "misc")]

    assert wrong == []
