"""The whole product: a blueprint, an orchestrator, a worker process, S3, and the ``.env`` of the cookbook."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import requests

from avtomatika import broker
from avtomatika.core.job import Job
from avtomatika.loading import load_blueprints
from avtomatika.store import NewJob, Store

from ..support.object_storage import ObjectStorage
from ..support.ports import free_port
from ..support.processes import AVTOMATIKA, Process
from ..support.scale import SCALE
from ..web.test_metrics import samples

DEADLINE_SECONDS = 30
LARGE_BYTES = 200_000_000
#: Memory limit of the worker for files of any size.
MEMORY_BYTES = 100_000_000

#: Word for word; its address, bucket and folder are replaced by those of the test.
SEED = """
S3_ENDPOINT_URL=http://localhost:9000
S3_ACCESS_KEY=minioadmin
S3_SECRET_KEY=minioadmin
S3_BUCKET=worker-results
WORKER_PAYLOAD_DIR=/tmp/payloads # Directory allowed for upload
"""

BLUEPRINT = """
from avtomatika import Blueprint

bp = Blueprint("films", api_endpoint="jobs/films")

@bp.handler(is_start=True)
def start(initial_data, actions):
    actions.dispatch_task(initial_data["skill"], {"film": initial_data["film"]}, transitions={"success": "done"})

@bp.handler(is_end=True)
def done(output):
    return {"output": output}
"""

WORKER = """
import os
import re
from pathlib import Path
from avtomatika import Worker

worker = Worker()

@worker.skill()
def beside(params):
    output = params["film"] + ".mp4"
    Path(output).write_bytes(Path(params["film"]).read_bytes() + b"!")
    return {"output": output}

@worker.skill()
async def in_the_payload_folder(params):
    output = Path(os.environ["WORKER_PAYLOAD_DIR"]) / "out.mp4"
    output.write_bytes(Path(params["film"]).read_bytes() + b"?")
    return {"status": "success", "data": {"output": str(output)}}

@worker.skill()
def large(params, files):
    copy = files.path("copy.bin")
    with open(params["film"], "rb") as film, open(copy, "wb") as file:
        while piece := film.read(1 << 20):
            file.write(piece)
        file.write(b"!")
    uri = files.upload(copy)
    peak_kib = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
    return {"output": {"uri": uri, "peak": 1024 * int(peak_kib)}}
"""


@dataclass
class Product:
    """An orchestrator and a worker in *folder*, over one server."""

    folder: Path
    store: Store

    def run(self, skill: str, film: str, *, within_seconds: float = DEADLINE_SECONDS) -> Job:
        """The job that has that film go through that skill, when it is over."""
        [blueprint] = load_blueprints(str(self.folder / "blueprints"))
        data = {"skill": skill, "film": film}
        job_id = self.store.create(NewJob(blueprint.plan, "tester", initial_data=data)).job_id
        deadline = monotonic() + within_seconds
        while monotonic() < deadline:
            job = self.store.load(job_id)
            assert job is not None
            if job.status.is_final or job.status == "quarantined":
                return job
            sleep(0.05)
        raise AssertionError(f"the job did not end: {job} {self._logs()}")

    def _logs(self) -> str:
        return "\n".join(path.read_text() for path in self.folder.glob("*.log"))


@pytest.fixture
def make_product(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Product]]:
    """Start the processes in a folder with that ``.env``, the worker with more variables."""
    processes: list[Process] = []
    stores: list[Store] = []

    def make(dotenv: str, **of_worker: str) -> Product:
        (tmp_path / "blueprints").mkdir()
        (tmp_path / "blueprints" / "films.py").write_text(BLUEPRINT)
        (tmp_path / "worker.py").write_text(WORKER)
        (tmp_path / ".env").write_text(dotenv)
        with broker.connect(redis_url) as connection:
            broker.declare(connection, [bp.plan for bp in load_blueprints(str(tmp_path / "blueprints"))])
        for role, environment in (("orchestrator", {}), ("worker", of_worker)):
            processes.append(_start(role, tmp_path, REDIS_URL=redis_url, **environment))
        stores.append(Store.connect(redis_url))
        return Product(tmp_path, stores[-1])

    yield make
    for store in stores:
        store.close()
    for process in processes:
        process.send_signal(signal.SIGTERM)
    codes = [process.process.wait(DEADLINE_SECONDS) for process in processes]
    assert codes == [0] * len(processes)


@pytest.fixture
def film(cloud: ObjectStorage, inputs: str) -> str:
    return cloud.put(inputs, "raw/film one.mov", b"film")


def _start(role: str, folder: Path, **environ: str) -> Process:
    return Process((*AVTOMATIKA, role), folder, environ, log=folder / f"{role}.log")


def test_the_cookbooks_settings_work_as_they_are_printed(
    cloud: ObjectStorage, results: str, film: str, tmp_path: Path, make_product: Callable[..., Product]
) -> None:
    payloads = tmp_path / "payloads"
    settings = SEED.replace("http://localhost:9000", cloud.url).replace("/tmp/payloads", str(payloads))
    product = make_product(settings.replace("worker-results", results))

    beside, elsewhere = product.run("beside", film), product.run("in_the_payload_folder", film)

    for job, name, body in ((beside, "film one.mov.mp4", b"film!"), (elsewhere, "out.mp4", b"film?")):
        assert job.status == "finished", job
        result: Any = job.result
        assert result["output"].startswith(f"s3://{results}/{job.id}/{job.id}.")
        assert result["output"].endswith(f"/{name}")
        assert cloud.read(result["output"]) == body
    assert list((payloads / "tasks").iterdir()) == []


def test_the_worker_counts_files_that_skills_in_processes_and_coroutines_transfer(
    cloud: ObjectStorage, results: str, film: str, tmp_path: Path, make_product: Callable[..., Product]
) -> None:
    port = free_port()
    settings = SEED.replace("http://localhost:9000", cloud.url).replace("/tmp/payloads", str(tmp_path / "payloads"))
    more = "WORKER_CACHE_BYTES=0\nWORKER_POOL=process\n"
    product = make_product(settings.replace("worker-results", results) + more, METRICS_PORT=str(port))

    for skill in ("beside", "in_the_payload_folder"):  # in a child process, and in the worker
        assert product.run(skill, film).status == "finished"

    found = samples(requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text)
    assert found["avtomatika_worker_files_total", "direction=download"] == 2
    assert found["avtomatika_worker_files_total", "direction=upload"] == 2
    assert found["avtomatika_worker_file_bytes_total", "direction=download"] == 2 * len(b"film")
    assert found["avtomatika_worker_file_bytes_total", "direction=upload"] == 2 * len(b"film!")


def test_a_worker_without_s3_names_the_missing_settings(make_product: Callable[..., Product], film: str) -> None:
    job = make_product("").run("beside", film)

    assert job.status == "quarantined"
    assert job.error["code"] == "WORKER_SETTINGS_ERROR"
    assert "S3_BUCKET is not set" in str(job.error)


def test_skills_in_processes_of_their_own_have_files_too(
    make_product: Callable[..., Product], cloud: ObjectStorage, results: str, film: str, tmp_path: Path
) -> None:
    payload = tmp_path / "payloads"
    product = make_product(
        f"S3_ENDPOINT_URL={cloud.url}\nS3_ACCESS_KEY=a\nS3_SECRET_KEY=b\nS3_BUCKET={results}\n"
        f"WORKER_PAYLOAD_DIR={payload}\nWORKER_POOL=process\nWORKER_CONCURRENCY=1\n"
    )

    job = product.run("beside", film)

    assert job.status == "finished", job
    result: Any = job.result
    assert cloud.read(result["output"]) == b"film!"
    assert list((payload / "tasks").iterdir()) == []


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_worker_transfers_files_of_any_size_in_100_mb(
    make_product: Callable[..., Product], cloud: ObjectStorage, inputs: str, results: str, tmp_path: Path
) -> None:
    """200 MB; with ``FAULTS_SCALE`` from 10 on 2 GB, of which the S3 server keeps several copies in memory."""
    size = LARGE_BYTES if SCALE < 10 else 10 * LARGE_BYTES
    source = tmp_path / "large.bin"
    with source.open("wb") as file:
        file.truncate(size)
    cloud.client.upload_file(str(source), inputs, "large.bin")
    payload = tmp_path / "payloads"
    product = make_product(
        f"S3_ENDPOINT_URL={cloud.url}\nS3_ACCESS_KEY=a\nS3_SECRET_KEY=b\n"
        f"S3_BUCKET={results}\nWORKER_PAYLOAD_DIR={payload}\n"
    )

    job = product.run("large", f"s3://{inputs}/large.bin", within_seconds=size / 1_000_000)

    assert job.status == "finished", job
    output: Any = job.result["output"]
    key = output["uri"].removeprefix(f"s3://{results}/")
    assert cloud.client.head_object(Bucket=results, Key=key)["ContentLength"] == size + 1
    print(f"{size // 1_000_000} MB in {output['peak'] / 1e6:.0f} MB")
    assert output["peak"] < MEMORY_BYTES
    assert list((payload / "tasks").iterdir()) == []
