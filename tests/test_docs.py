"""The documents are correct: commands print the output shown, files work, links resolve."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import click
import pytest
import redis
import requests

from avtomatika import tracing
from avtomatika.cli.main import cli
from avtomatika.client import Client
from avtomatika.errors import BlueprintError, InvalidInputError
from avtomatika.files.cleanup import CleanupRules
from avtomatika.files.config import S3Config
from avtomatika.loading import load_blueprints
from avtomatika.settings import Settings
from avtomatika.store.keys import Keys as JobKeys, KeyTemplate
from avtomatika.transport.keys import Keys as QueueKeys
from avtomatika.worker.config import WorkerConfig
from avtomatika.worker.run import load_worker

from .support.cli import Up
from .support.documents import (
    DOCUMENTS,
    ROOT,
    Block,
    anchors,
    blocks,
    lasting,
    links,
    run_blocks,
    save_files,
    section,
    shell_environment,
    subsections,
    table,
)
from .support.object_storage import ObjectStorage
from .support.ports import free_port
from .support.processes import Process, processes_in
from .test_architecture import MAY_IMPORT, TOPS

pytestmark = pytest.mark.docs

README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
COMPARISON, TUTORIAL, AGENTS = (ROOT / "docs" / f"{name}.md" for name in ("comparison", "tutorial", "agents"))
ARCHITECTURE, BLUEPRINTS, WORKERS, FILES, HTTP, OPERATIONS, CELERY, SCHEDULES, QUICKSTART, GUARANTEES, LIMITS = (
    ROOT / "docs" / f"{name}.md"
    for name in (
        "architecture",
        "blueprints",
        "workers",
        "files",
        "http",
        "operations",
        "celery",
        "schedules",
        "quickstart",
        "guarantees",
        "limits",
    )
)
#: Commands for the reader's machine; the tests below run the rest.
SET_UP = ("make ", ". .venv/bin/activate")
SERVE = "avtomatika up\n"
#: Commands that do not end; each has its own test.
ENDLESS = ("export REDIS_URL=", "avtomatika orchestrator --queues", "avtomatika up --worker")


def shell_blocks(document: Path) -> list[Block]:
    """Commands of a reader while ``avtomatika up`` runs."""
    typed = [block for block in blocks(document) if block.language == "sh"]
    return [block for block in typed if not block.text.startswith((*SET_UP, *ENDLESS)) and block.text != SERVE]


def python_blocks() -> list[Block]:
    return [block for document in DOCUMENTS for block in blocks(document) if block.language == "python"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """``avtomatika up`` with the files of the quickstart, in a folder made as it says."""
    folder = tmp_path_factory.mktemp("quickstart") / "shop"
    (make_folder,) = re.findall(r"^mkdir .*$", QUICKSTART.read_text(), re.MULTILINE)
    subprocess.run(["bash", "-c", make_folder.replace("/tmp/shop", str(folder))], check=True)
    save_files(QUICKSTART, folder)
    save_files(HTTP, folder)
    yield from _running(folder)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The same with the files of docs/blueprints.md and docs/workers.md."""
    folder = tmp_path_factory.mktemp("examples")
    save_files(BLUEPRINTS, folder)
    save_files(WORKERS, folder)
    yield from _running(folder)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, cloud: ObjectStorage) -> Iterator[Up]:
    """The same with the blueprint and the skill of docs/files.md, and S3."""
    folder = tmp_path_factory.mktemp("films")
    save_files(FILES, folder)
    skill = next(block for block in blocks(FILES) if block.language == "python")
    (folder / "worker.py").write_text(skill.text)
    yield from _running(
        folder,
        S3_ENDPOINT_URL=cloud.url,
        S3_ACCESS_KEY="minioadmin",
        S3_SECRET_KEY="minioadmin",
        S3_BUCKET=cloud.make_bucket(),
        WORKER_PAYLOAD_DIR=str(folder / "payloads"),
    )


def _running(folder: Path, *, options: Sequence[str] = (), **environment: str) -> Iterator[Up]:
    up = Up(folder, *options, **environment)
    try:
        yield up.wait_until_ready()
        up.end()
        assert processes_in(folder) == set()
    finally:
        up.kill()


def check_what_is_said(up: Up, *documents: Path) -> None:
    chosen = [block for document in documents for block in shell_blocks(document)]
    token = up.folder / "var" / "client_token"  # not there beside a clients.toml
    environment = shell_environment(up.folder, TOKEN=token.read_text() if token.exists() else "")
    answers = list(run_blocks(chosen, folder=up.folder, environment=environment, url=up.url))
    assert len(answers) == len(chosen)
    for block, (status, said) in zip(chosen, answers, strict=True):
        if block.output is None:
            assert status == 0, f"{block} ended with {status}:\n{said}"
        else:
            shown = lasting(block.output.text, block.output.language)
            assert lasting(said, block.output.language) == shown, f"{block} says:\n{said}"


# ---------------------------------------------------------------- what is run


def test_the_quickstart_and_the_api_say_what_is_shown(shop: Up) -> None:
    check_what_is_said(shop, QUICKSTART, HTTP)


def test_the_first_task_and_the_first_workflow_of_the_readme_say_what_is_shown(tmp_path: Path) -> None:
    (serve,) = [block for block in blocks(README) if block.text.startswith("avtomatika up --worker")]
    save_files(README, tmp_path)

    for up in _running(tmp_path, options=shlex.split(serve.text)[2:]):
        check_what_is_said(up, README)


def test_the_tutorial_runs_in_memory_and_on_a_server(tmp_path: Path) -> None:
    save_files(TUTORIAL, tmp_path)
    for up in _running(tmp_path):
        check_what_is_said(up, TUTORIAL)


def test_the_questions_of_the_quickstart_are_answered(shop: Up) -> None:
    """Their answers are too long to be shown there."""
    asked = [block for block in shell_blocks(QUICKSTART) if "/history" in block.text or "JOB=" in block.text]
    token = (shop.folder / "var" / "client_token").read_text()

    answers = run_blocks(
        asked, folder=shop.folder, environment=shell_environment(shop.folder, TOKEN=token), url=shop.url
    )
    said = list(answers)[-1][1]

    assert '"status":"finished"' in said
    assert '"event_type":"job_finished"' in said
    assert "digraph {" in said


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_the_examples_of_the_guides_say_what_is_shown(examples: Up) -> None:
    check_what_is_said(examples, BLUEPRINTS, OPERATIONS)


@pytest.mark.faults
def test_the_commands_of_the_guide_to_schedules_run_beside_its_file_and_its_code(tmp_path: Path) -> None:
    save_files(SCHEDULES, tmp_path)
    [file] = [block for block in blocks(SCHEDULES) if block.language == "toml"]
    (tmp_path / "schedules.toml").write_text(file.text)
    for up in _running(tmp_path):
        check_what_is_said(up, SCHEDULES)
        with Client(up.url, (tmp_path / "var" / "client_token").read_text()) as client:
            sources = {each["name"]: each["source"] for each in client.schedules()}

        assert sources == {"report": "code", "weekly": "file", "poll": "file"}


@pytest.mark.faults
def test_the_commands_of_the_guide_to_limits_run_beside_its_file_and_its_code(tmp_path: Path) -> None:
    save_files(LIMITS, tmp_path)
    [file] = [block for block in blocks(LIMITS) if block.language == "toml"]
    (tmp_path / "limits.toml").write_text(file.text)
    for up in _running(tmp_path):
        check_what_is_said(up, LIMITS)
        with Client(up.url, (tmp_path / "var" / "client_token").read_text()) as client:
            sources = {f"{each['kind']}:{each['name']}": each["source"] for each in client.limits()}

        assert sources == {
            **dict.fromkeys(("skill:encode", "blueprint:bank", "client:acme", "key:acct-7"), "file"),
            **{"skill:encode2": "api", "skill:move": "worker"},
        }


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_an_agent_asks_a_person(tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    save_files(AGENTS, tmp_path)
    for up in _running(tmp_path):
        check_what_is_said(up, AGENTS)


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_a_film_goes_to_a_job_and_comes_back(films: Up) -> None:
    check_what_is_said(films, FILES)


@pytest.mark.faults
def test_redis_cli_is_told_what_the_server_understands(examples: Up) -> None:
    lines = [line for block in blocks(OPERATIONS) if block.language == "redis" for line in block.text.splitlines()]
    port = re.search(r'"port": (\d+)', (examples.folder / "var" / "server.json").read_text())
    assert port is not None
    hello = ["avtomatika", "jobs", "submit", "hello", "name=Ada", "--wait"]  # a queue is a stream once it was used
    subprocess.run(hello, cwd=examples.folder, env=shell_environment(examples.folder), check=True, capture_output=True)

    with redis.Redis(port=int(port[1])) as server:
        for line in lines:
            server.execute_command(*shlex.split(line))

    assert lines


def test_make_demo_and_make_test_run_what_is_documented() -> None:
    told = [line for block in blocks(README) for line in block.text.splitlines() if line.startswith("make ")]
    planned = {line: _planned(*shlex.split(line)[1:]) for line in told}

    assert told == ["make demo", "make test"]
    assert "avtomatika demo" in planned["make demo"]
    assert "pytest" in planned["make test"]


def _planned(*arguments: str) -> str:
    """Return the commands that make would run."""
    return subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.faults
def test_the_python_of_the_guide_to_blueprints_runs_in_memory(tmp_path: Path) -> None:
    """What is a test is run by pytest, what is no file as it stands; together they run every blueprint of the page."""
    save_files(BLUEPRINTS, tmp_path)
    save_files(WORKERS, tmp_path)
    python = [block for block in blocks(BLUEPRINTS) if block.language == "python"]
    tests = [str(block.file) for block in python if block.file is not None and block.file.startswith("test_")]
    scripts = [block for block in python if block.file is None]
    (tmp_path / "test_rest.py").write_text(_RUNS_OF_THE_REST)
    for number, block in enumerate(scripts):
        (tmp_path / f"script_{number}.py").write_text(block.text)

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, "test_rest.py"]
    done = [_run_in(tmp_path, command)]
    done += [_run_in(tmp_path, [sys.executable, f"script_{number}.py"]) for number, _ in enumerate(scripts)]

    assert [each.stdout + each.stderr for each in done if each.returncode != 0] == []
    whole = _RUNS_OF_THE_REST + "".join(block.text for block in python)
    unused = [file for file in _blueprint_files(python) if f"from blueprints.{Path(file).stem} import" not in whole]
    assert unused == []


def test_the_guide_for_users_of_celery_runs_against_a_server(
    tmp_path: Path, redis_url: str, background: ExitStack
) -> None:
    save_files(CELERY, tmp_path)
    tested = _run_in(tmp_path, [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_gallery.py"])
    up = Up(tmp_path, REDIS_URL=redis_url)
    background.callback(up.kill)
    up.wait_until_ready()
    token = (tmp_path / "var" / "client_token").read_text()
    call = f"from order import order_thumbnails as order; print(order({up.url!r}, {token!r}, ['a.jpg', 'b.jpg']))"
    called = _run_in(tmp_path, [sys.executable, "-c", call])
    call = f"import os; os.environ['REDIS_URL'] = {redis_url!r}; from shop import resize; print(resize('a.jpg'))"
    resized = _run_in(tmp_path, [sys.executable, "-W", "ignore", "-c", call])

    assert (resized.stdout, resized.stderr) == ("{'thumbnail': 'a.jpg@64'}\n", "")
    assert tested.returncode == 0, tested.stdout
    assert (called.stdout, called.stderr) == ("2\n", "")


#: Blueprints of the page that its own python does not run.
_RUNS_OF_THE_REST = """
from avtomatika.testing import run
from worker import worker
from blueprints.count import bp as count
from blueprints.crowd import bp as crowd
from blueprints.family import bp as family
from blueprints.hello import bp as hello
from blueprints.parcel import bp as parcel
from blueprints.report import bp as report
from blueprints.reunion import bp as reunion
from blueprints.route import bp as route


def test_hello(): assert run(hello, {"name": "Ada"}, skills=worker).status == "finished"
def test_count(): assert run(count, {"upto": 2}, skills=worker).result == {"ticks": 2, "rounds": 3}
def test_crowd():
    assert run(crowd, {"names": ["Ada", "Bob"]}, skills=worker).result == ["hello, Ada", "hello, Bob"]
def test_family():
    ended = run(family, {"guest": "Ada"}, skills=worker, blueprints=[hello])
    assert (ended.result, ended.children[0].status) == ("they said: hello, Ada", "finished")
def test_parcel():
    assert run(parcel, {"to": "moon", "kilos": 1}).status == "failed"
    assert run(parcel, {"to": "Bonn", "kilos": 1}).states == ("weigh", "sent")
def test_reunion():
    ended = run(reunion, {"names": ["Ada", "Bob"]}, skills=worker, blueprints=[hello])
    assert ended.result == ["hello, Ada", "hello, Bob"]
def test_report(): assert run(report).states == ("gather", "condense", "done")
def test_route():
    assert run(route, {"direction": "NORTH"}).states == ("choose", "north")
    assert run(route, {"direction": "EAST"}).status == "error"
"""


def _blueprint_files(python: list[Block]) -> list[str]:
    return [block.file for block in python if block.file is not None and block.file.startswith("blueprints/")]


def _run_in(folder: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = shell_environment(folder, PYTHONPATH=str(folder))
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


# ---------------------------------------------------------------- what does not end


@pytest.fixture
def background() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.faults
def test_the_parts_run_as_processes_of_their_own(tmp_path: Path, redis_url: str, background: ExitStack) -> None:
    (block,) = [block for block in blocks(README) if block.text.startswith("export REDIS_URL=")]
    save_files(README, tmp_path)
    port = free_port()
    script = block.text.replace("redis://localhost:6379/0", redis_url) + 'echo "$CLIENT_TOKEN" > token\nwait\n'

    _start(background, script, tmp_path, API_PORT=str(port))
    job = _run_job(f"http://localhost:{port}", tmp_path / "token", "bill", {"a": 40, "b": 2})

    assert job["result"] == {"paid": 42}


@pytest.mark.faults
def test_two_orchestrators_share_a_job_by_their_queues(tmp_path: Path, redis_url: str, background: ExitStack) -> None:
    (block,) = [block for block in blocks(OPERATIONS) if "--queues" in block.text]
    main, heavy = block.text.splitlines()
    save_files(BLUEPRINTS, tmp_path)
    (tmp_path / "token").write_text("token-of-the-docs")
    port = free_port()
    environment = {"REDIS_URL": redis_url, "CLIENT_TOKEN": "token-of-the-docs", "API_PORT": str(port)}

    _start(background, f"avtomatika web & {main} & wait", tmp_path, **environment)
    url = f"http://localhost:{port}"
    stuck = _run_job(url, tmp_path / "token", "report", {}, seconds=2)
    _start(background, heavy, tmp_path, **environment)
    with Client(url, "token-of-the-docs") as api:
        ended = api.wait(stuck["id"], timeout=20)

    assert (stuck["status"], stuck["current_state"]) == ("running", "condense")
    assert ended["status"] == "finished"


@pytest.mark.faults
def test_the_receiver_of_the_document_is_told_what_became_of_a_job(tmp_path: Path, background: ExitStack) -> None:
    save_files(QUICKSTART, tmp_path)
    save_files(HTTP, tmp_path)
    port = free_port()
    secrets = {"WEBHOOK_SECRET": "whsec_c2VjcmV0", "WEBHOOK_ALLOW": "127.0.0.1"}
    _start(background, f"flask --app receiver run --port {port}", tmp_path, **secrets)
    up = Up(tmp_path, WORKER_LEASE_SECONDS="2", **secrets)
    background.callback(up.kill)
    up.wait_until_ready()

    with Client(up.url, (tmp_path / "var" / "client_token").read_text()) as api:
        hook = f"http://127.0.0.1:{port}/hook"
        job_id = api.submit("order", {"item": "chair", "count": 1}, webhook_url=hook)["job_id"]
    up.wait_until(lambda: f"job.finished {job_id} " in (tmp_path / "log").read_text())

    assert "{'parcel': '1 from shelf B7'}" in (tmp_path / "log").read_text()


def _start(background: ExitStack, script: str, folder: Path, **environment: str) -> None:
    environ = shell_environment(folder, **environment)
    background.callback(Process(["bash", "-c", script], folder, environ, log=folder / "log").kill)


def _run_job(url: str, token: Path, endpoint: str, data: dict[str, Any], *, seconds: float = 20) -> dict[str, Any]:
    deadline = monotonic() + 20
    while monotonic() < deadline:
        try:
            requests.get(f"{url}/readyz", timeout=2).raise_for_status()
            break
        except requests.RequestException:
            sleep(0.05)
    with Client(url, token.read_text().strip()) as api:
        return api.wait(api.submit(endpoint, data)["job_id"], timeout=seconds)


# ---------------------------------------------------------------- what is written


@pytest.mark.parametrize("block", python_blocks(), ids=str)
def test_python_is_python(block: Block) -> None:
    assert ast.parse(block.text).body


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    lost = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)

    assert lost == []


def test_the_picture_of_the_readme_is_the_example_as_it_is_now() -> None:
    shown = (ROOT / "docs" / "photo.svg").read_text()
    (blueprint,) = load_blueprints(str(ROOT / "examples" / "photo" / "blueprints"))

    for state in blueprint.plan.states.values():
        assert f">{state.name}</text>" in shown
        for task_type in state.task_types:
            assert f">task: {task_type}</text>" in shown


def test_a_wrong_field_is_refused_in_the_words_of_the_document(tmp_path: Path) -> None:
    save_files(WORKERS, tmp_path)
    skill = load_worker(f"{tmp_path / 'worker.py'}:worker").skills["post"]
    (message,) = re.findall(r'^message = "(.*)"$', WORKERS.read_text(), re.MULTILINE)
    assert skill.param_type.read is not None

    with pytest.raises(InvalidInputError, match=re.escape(message)):
        skill.param_type.read({"to": "Ada", "pagse": 3}, "params")


class Asked(dict[str, str]):
    """An environment that turns S3 on, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return "bucket" if name == "S3_BUCKET" else default


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every variable that settings, workers and commands look at."""
    asked = Asked()
    with monkeypatch.context() as patch:
        patch.setattr("os.environ", asked)
        for read in (Settings, WorkerConfig, S3Config, CleanupRules):
            read.from_environment()
        tracing.load()
    return asked.names | set(_variables_of(cli))


def _variables_of(command: click.Command) -> Iterator[str]:
    context = click.Context(command)
    for parameter in command.params:
        names = parameter.envvar or ()
        yield from [names] if isinstance(names, str) else names
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (inner := command.get_command(context, name)) is not None:
                yield from _variables_of(inner)


def test_every_variable_is_documented(variables: set[str]) -> None:
    text = OPERATIONS.read_text() + WORKERS.read_text() + FILES.read_text()

    assert {name for name in variables if f"`{name}`" not in text} == set()


def test_every_documented_variable_exists(variables: set[str]) -> None:
    cells = [row[0] for document in (OPERATIONS, WORKERS, FILES) for row in table(section(document, "Variables"))]
    documented = {name for cell in cells for name in re.findall(r"`([A-Z0-9_]+)`", cell)}

    assert documented - variables == set()
    assert documented


def test_the_import_rules_are_those_that_are_enforced() -> None:
    rows = table(section(ARCHITECTURE, "Import rules"))
    documented = {
        re.sub(r"^avtomatika/|/$|\.py$", "", room): {name.strip() for name in allowed.split(",")} - {"", "nothing"}
        for rooms, _, allowed in rows
        for room in re.findall(r"`([^`]+)`", rooms)
    }

    assert {room: allowed for room, allowed in documented.items() if room not in TOPS} == MAY_IMPORT


@pytest.mark.parametrize("document", [ARCHITECTURE, CONTRIBUTING], ids=lambda path: path.name)
def test_every_file_named_in_the_map_exists(document: Path) -> None:
    missing = [
        f"{heading}: {name}"
        for heading, text in subsections(document)
        for name in re.findall(r"`([\w/.-]+(?:/|\.(?:py|lua|toml|cfg|md)))`", text)
        if not any((base / name).exists() for base in _bases(heading, text))
    ]

    assert missing == []


def _bases(heading: str, text: str) -> list[Path]:
    """Folders to which the names in a section are relative: the checkout, the package, and packages named in it."""
    folders = [ROOT, ROOT / "avtomatika"]
    named = [
        base / name for name in re.findall(r"`([\w/]+/)", heading + text) for base in folders if (base / name).is_dir()
    ]
    return [
        *folders,
        *named,
        *(package / inner.name for package in named for inner in package.iterdir() if inner.is_dir()),
    ]


def test_the_files_of_the_map_are_about_their_words() -> None:
    wrong = []
    for topic, files in table(section(ARCHITECTURE, "Where is …?")):
        words = {word.removesuffix("s") for word in re.findall(r"[a-z0-9]{3,}", topic.lower()) if word != "and"}
        for file in re.findall(r"`([^`]+)`", files):
            text = f"{file} {(ROOT / file).read_text()}".lower()
            wrong += [f"{topic}: {file} does not mention {word!r}" for word in words if word not in text]

    assert wrong == []


@pytest.mark.parametrize("keys", [JobKeys, QueueKeys], ids=["of jobs", "of queues"])
def test_every_key_is_documented(keys: type[JobKeys | QueueKeys]) -> None:
    documented = re.sub(r"<\w[\w -]*>", "*", section(ARCHITECTURE, "Keys in Redis"))
    methods = [each for name, each in vars(keys).items() if inspect.isfunction(each) and not name.startswith("_")]
    made = [each(keys(), *["*"] * (len(inspect.signature(each).parameters) - 1)) for each in methods if _is_key(each)]
    made += [getattr(keys(), name)(*"****") for name, each in vars(keys).items() if isinstance(each, KeyTemplate)]

    documented = documented.replace("`{avt.g0}:statistics:*`", "`{avt.g0}:statistics:`")  # the key is a prefix
    assert [key for key in made if f"`{key}`" not in documented] == []
    assert made


def _is_key(method: Callable[..., Any]) -> bool:
    return set(inspect.get_annotations(method, eval_str=True).values()) == {str}


#: Invalid blueprints; docs/blueprints.md lists their errors.
WRONG = {
    "no start": "@bp.handler\ndef a(actions): actions.go_to('a')",
    "two starts": "@bp.handler(is_start=True)\ndef a(actions): actions.go_to('e')\n"
    "@bp.handler(is_start=True)\ndef b(actions): actions.go_to('e')\n@bp.handler(is_end=True)\ndef e(): ...",
    "unknown target": "@bp.handler(is_start=True)\ndef a(actions): actions.go_to('dnoe')\n"
    "@bp.handler(is_end=True)\ndef done(): ...",
    "unreachable": "@bp.handler(is_start=True, is_end=True)\ndef a(): ...\n@bp.handler(is_end=True)\ndef b(): ...",
    "no way out": "@bp.handler(is_start=True)\ndef a(actions): ...",
    "no end": "@bp.handler(is_start=True)\ndef a(actions): actions.go_to('a')",
    "acting end": "@bp.handler(is_start=True, is_end=True)\ndef a(actions): actions.go_to('a')",
    "computed": "@bp.handler(is_start=True)\ndef a(actions, job_id): actions.go_to(job_id)",
    "no transitions": "@bp.handler(is_start=True)\ndef a(actions): actions.dispatch_task('t', {})",
    "no success": "@bp.handler(is_start=True)\ndef a(actions): actions.dispatch_task('t', {}, {'failure': 'e'})\n"
    "@bp.handler(is_end=True)\ndef e(): ...",
    "two bare": "@bp.handler('a', is_start=True, is_end=True)\ndef b(): ...\n"
    "@bp.handler('a', is_end=True)\ndef c(): ...",
    "unknown action": "@bp.handler(is_start=True)\ndef a(actions): actions.sleep(3)",
    "two queues": "@bp.handler('a', F.job_id == 'x', is_start=True, is_end=True, queue='x')\ndef b(): ...\n"
    "@bp.handler('a', is_end=True, queue='y')\ndef c(): ...",
    "bare field": "@bp.handler('a', F.initial_data['big'])\ndef b(): ...",
    "defined twice": "@bp.handler(is_start=True, is_end=True)\ndef a(): ...\nother = Blueprint('wrong')",
    "nothing to collect": "@bp.handler(is_start=True)\ndef a(actions): actions.go_to('e')\n"
    "@bp.aggregator(is_end=True)\ndef e(): ...",
    "collects nothing": "@bp.handler(is_start=True)\ndef a(actions): actions.dispatch_parallel([{'type': 't'}], 'e')\n"
    "@bp.handler(is_end=True)\ndef e(): ...",
    "unknown field of the data": "from dataclasses import dataclass\n@dataclass\nclass Order:\n    size: int\n"
    "@bp.handler(is_start=True, is_end=True)\ndef a(initial_data: Order): return initial_data.siez",
    "misspelt argument": "@bp.handler(is_start=True)\n"
    "def a(actions): actions.dispatch_task('t', {}, {'success': 'a'}, max_retrys=3)",
    "misspelt parameter": "@bp.handler(is_start=True)\ndef a(actions, intial_data): actions.go_to('a')",
    "undecided path": "@bp.handler(is_start=True)\ndef a(actions, size):\n  if size: actions.go_to('e')\n"
    "@bp.handler(is_end=True)\ndef e(): ...",
    "elsewhere": "@bp.handler(is_start=True)\n"
    "def a(actions): actions.dispatch_parallel([{'type': 't', 'transitions': {'success': 'b'}}], 'e')\n"
    "@bp.aggregator(is_end=True)\ndef e(): ...\n@bp.handler(is_end=True)\ndef b(): ...",
}


def test_blueprint_check_says_what_is_documented(tmp_path: Path) -> None:
    patterns = [
        ".*".join(re.escape(part) for part in row[0].strip("`").split("..."))
        for row in table(section(BLUEPRINTS, "Checking"))
    ]
    said = {name: _refusal(tmp_path / f"{name.replace(' ', '_')}.py", source) for name, source in WRONG.items()}

    assert [pattern for pattern in patterns if not any(re.search(pattern, text) for text in said.values())] == []
    assert {n: text for n, text in said.items() if not any(re.search(pattern, text) for pattern in patterns)} == {}


def _refusal(file: Path, source: str) -> str:
    file.write_text(f"from avtomatika import Blueprint, F\nbp = Blueprint('wrong')\n{source}\n")
    with pytest.raises(BlueprintError) as raised:  # noqa: PT012 - loading refuses some, compiling others
        for blueprint in load_blueprints(str(file)):
            blueprint.compile()
    return str(raised.value)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_exists(document: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", document.read_text())

    assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in _text(ROOT / file)] == []


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def test_every_guarantee_says_how_it_is_kept_by_which_tests_it_is_shown_what_it_costs_and_its_limit() -> None:
    guarantees = re.split(r"^### ", GUARANTEES.read_text().partition("\n## What is not")[0], flags=re.MULTILINE)[1:]

    assert len(guarantees) > 20
    for text in guarantees:
        for part in ("**How**", "**Shown by**", "**Costs**", "**Limit**", "`tests/"):
            assert part in text, text.partition("\n")[0]


def test_every_statement_about_avtomatika_in_the_comparison_names_its_test() -> None:
    topics = re.split(r"^## ", COMPARISON.read_text().partition("\n## When to choose")[0], flags=re.MULTILINE)[1:]

    assert len(topics) > 5
    for topic in topics:
        (ours,) = re.findall(r"^- \*\*avtomatika\*\*:(.*?)(?=^- |\Z)", topic, re.MULTILINE | re.DOTALL)
        assert "`tests/" in ours, topic.partition("\n")[0]
