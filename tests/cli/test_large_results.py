"""Results of every size, through everything that ``up`` runs and a real S3 server, over both links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import sleep

import httpx
import pytest

from avtomatika.client import Client

from ..support.cli import Up, in_process
from ..support.object_storage import ObjectStorage
from ..support.ports import free_port
from ..support.webhook_receiver import Receiver

LIMIT = 20_000
LEASE_SECONDS = 2
BLUEPRINT = """
from avtomatika import Blueprint, F

bp = Blueprint(name="rows", api_endpoint="jobs/rows")
SCHEMA = {"type": "object", "properties": {"rows": {"type": "array", "maxItems": 10_000_000}}, "required": ["rows"]}

@bp.handler(is_start=True)
def start(initial_data, actions):
    params = {"size": initial_data["size"]}
    actions.dispatch_task("make", params, transitions={"success": "count"}, output_schema=SCHEMA)

@bp.handler("count", F.job_data["rows"][0] == 0)
def count(rows, actions):
    actions.dispatch_task("measure", {"rows": rows}, transitions={"success": "fan"})

@bp.handler("fan")
async def fan(actions, job_data):
    assert len(job_data["rows"]) == job_data["length"]
    job_data["note"] = "x"
    params = [{"size": len(job_data["rows"])}, {"size": 3}]
    tasks = [{"task_type": "make", "params": each} for each in params]
    actions.dispatch_parallel(tasks, aggregate_into="join")

@bp.aggregator("join")
def join(aggregation_results, actions, job_data):
    lengths = [len(each["data"]["rows"]) for each in aggregation_results.values()]
    job_data["lengths"] = lengths
    actions.go_to("done")

@bp.handler(is_end=True)
def done(rows, length, lengths):
    return {"rows": rows, "length": length, "lengths": lengths, "reversed": rows[::-1]}

outer = Blueprint(name="outer", api_endpoint="jobs/outer")

@outer.handler(is_start=True)
def begin(initial_data, actions):
    actions.run_blueprint("rows", initial_data, transitions={"success": "end"})

@outer.handler(is_end=True)
def end(reversed):
    return {"reversed": reversed}
"""
WORKER = """
from avtomatika import Worker

worker = Worker()

@worker.skill()
def make(params: dict):
    with open("runs", "a") as runs:
        runs.write("run\\n")
    return {"rows": list(range(params["size"])), "size": params["size"]}

@worker.skill()
async def measure(params: dict):
    return {"length": len(params["rows"])}
"""


def _environment(link: str) -> dict[str, str]:
    port = str(free_port())
    over_http = {"ORCHESTRATOR_URL": f"http://127.0.0.1:{port}", "WORKER_TOKEN": "worker-token-of-the-test"}
    return {
        "API_PORT": port,
        "MAX_INLINE_BYTES": str(LIMIT),
        "WORKER_ID": "maker",
        **(over_http if link == "http" else {}),
    }


def _project(folder: Path) -> Path:
    (folder / "blueprints").mkdir(parents=True)
    (folder / "blueprints" / "rows.py").write_text(BLUEPRINT)
    (folder / "worker.py").write_text(WORKER)
    return folder


@pytest.fixture(scope="module", params=["broker", "http"])
def running(
    request: pytest.FixtureRequest, cloud: ObjectStorage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Up]:
    everything = Up(
        _project(tmp_path_factory.mktemp("large") / "project"),
        S3_ENDPOINT_URL=cloud.url,
        S3_ACCESS_KEY="minioadmin",
        S3_SECRET_KEY="minioadmin",
        S3_BUCKET=cloud.make_bucket(),
        WEBHOOK_ALLOW="127.0.0.0/8",
        **_environment(request.param),
    )
    yield everything.wait_until_ready()
    everything.end()
    everything.kill()


def test_large_values_go_through_s3_and_are_seen_by_nobody(running: Up, cloud: ObjectStorage) -> None:
    run, size = in_process(running.folder), 30_000

    job_id = run("jobs", "submit", "rows", f"size:={size}").stdout.strip()
    assert run("jobs", "watch", job_id).code == 0, running.log

    shown = json.loads(run("jobs", "show", job_id, "--json").stdout)
    rows = list(range(size))
    assert shown["result"] == {"rows": rows, "length": size, "lengths": [size, 3], "reversed": rows[::-1]}
    reference = shown["state_history"]["rows"]
    assert set(reference) == {"$file", "sha256", "bytes"}
    assert json.loads(cloud.read(reference["$file"])) == rows
    history = run("jobs", "history", job_id, "--json").stdout
    assert len(history) < LIMIT
    assert history.count(reference["sha256"]) >= 3  # the value was not stored again for the next task and the end
    names = {each["uri"] for each in json.loads(run("files", "list", job_id, "--json").stdout)}
    assert len(names) == 3, names  # rows, those of the large branch, and reversed


def test_children_and_webhooks_have_large_values_too(running: Up) -> None:
    receiver, token = Receiver(), (running.folder / "var" / "client_token").read_text().strip()
    with closing(receiver), Client(running.url, token) as client:
        job_id = client.submit("outer", {"size": 20_000}, webhook_url=receiver.url())["job_id"]

        job = client.wait(job_id, timeout=30)
        running.wait_until(lambda: receiver.requests)

        assert job["result"] == {"reversed": list(range(20_000))[::-1]}, (job, running.log)
        [child] = client.export(job_id).children
        assert child.job["state_history"]["rows"] == list(range(20_000))
        body = receiver.requests[0].json
        reference = body["data"]["result"]["reversed"]
        assert f"/{job_id}/" in reference["$file"]
        assert httpx.get(body["links"][reference["$file"]]).json() == job["result"]["reversed"]


@pytest.mark.parametrize("link", ["broker", "http"])
@pytest.mark.faults
def test_without_s3_a_large_result_waits_for_a_higher_limit(link: str, tmp_path: Path) -> None:
    environment = _environment(link)
    folder = _project(tmp_path / "project")
    first = Up(folder, log_name="first.log", **environment)
    run = in_process(folder)
    try:
        first.wait_until_ready()
        job_id = run("jobs", "submit", "rows", "size:=30000").stdout.strip()
        first.wait_until(lambda: "exceeds MAX_INLINE_BYTES=20000" in run("jobs", "why", job_id).stdout)
        sleep(3 * LEASE_SECONDS)

        assert "finished on worker maker; its result of 168.9 kB exceeds" in run("jobs", "why", job_id).stdout
        assert (folder / "runs").read_text() == "run\n"
        first.end()
    finally:
        first.kill()
    second = Up(folder, log_name="second.log", **{**environment, "MAX_INLINE_BYTES": "1000000"})
    try:
        second.wait_until_ready()
        assert run("jobs", "watch", job_id).code == 0, second.log

        assert len(json.loads(run("jobs", "show", job_id, "--json").stdout)["result"]["rows"]) == 30_000
        assert (folder / "runs").read_text() == 3 * "run\n"  # and the two branches
        second.end()
    finally:
        second.kill()
