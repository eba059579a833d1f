"""``avtomatika files`` and ``jobs submit KEY=@FILE`` against everything that ``up`` runs, and a real S3 server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..support.cli import Run, Up, clean_environment, in_process
from ..support.object_storage import ObjectStorage
from ..support.processes import AVTOMATIKA
from ..support.terminal import on_terminal

BLUEPRINT = """
from avtomatika import Blueprint

bp = Blueprint(name="video", api_endpoint="jobs/video")

@bp.handler(is_start=True)
async def start(initial_data, actions, task_files):
    await task_files.write_json("order.json", initial_data)
    actions.dispatch_task("shout", {"video": initial_data["video"]}, transitions={"success": "done"})

@bp.handler(is_end=True)
def done(output, task_files):
    return {"output": output, "link": task_files.url(output)}
"""
WORKER = """
from pathlib import Path
from avtomatika import Worker

worker = Worker()

@worker.skill()
def shout(params: dict):
    source = Path(params["video"])
    target = source.with_suffix(".loud")
    target.write_text(source.read_text().upper())
    return {"output": str(target)}
"""


@pytest.fixture(scope="module")
def running(cloud: ObjectStorage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    yield from _running(cloud, tmp_path_factory.mktemp("files") / "project", bucket=cloud.make_bucket())


def _running(cloud: ObjectStorage, folder: Path, *, bucket: str, **environment: str) -> Iterator[Up]:
    (folder / "blueprints").mkdir(parents=True)
    (folder / "blueprints" / "video.py").write_text(BLUEPRINT)
    (folder / "worker.py").write_text(WORKER)
    (folder / "movie.txt").write_text("hello")
    everything = Up(
        folder,
        S3_ENDPOINT_URL=cloud.url,
        S3_ACCESS_KEY="minioadmin",
        S3_SECRET_KEY="minioadmin",
        S3_BUCKET=bucket,
        WORKER_PAYLOAD_DIR=str(folder / "payloads"),
        **environment,
    )
    yield everything.wait_until_ready()
    everything.end()
    everything.kill()


@pytest.fixture
def run(running: Up) -> Run:
    return in_process(running.folder)


def test_a_file_is_submitted_and_the_result_downloaded(
    run: Run, running: Up, cloud: ObjectStorage, tmp_path: Path
) -> None:
    submitted = run("jobs", "submit", "video", "video=@movie.txt")
    job_id = submitted.stdout.strip()
    assert run("jobs", "watch", job_id).code == 0, running.log

    listed = json.loads(run("files", "list", job_id, "--json").stdout)
    got = run("files", "get", job_id, "movie.loud", str(tmp_path))

    assert sorted(Path(each["name"]).name for each in listed) == ["movie.loud", "order.json"]
    assert got.stdout == f"{tmp_path}/movie.loud\n"
    assert (tmp_path / "movie.loud").read_text() == "HELLO"
    job = json.loads(run("jobs", "show", job_id, "--json").stdout)
    assert cloud.read(job["initial_data"]["video"]) == b"hello"
    assert job["result"]["link"].startswith(f"{cloud.url}/")


def test_a_file_is_uploaded_for_later_or_for_a_job(run: Run, running: Up, cloud: ObjectStorage) -> None:
    job_id = run("jobs", "submit", "video", "video=@movie.txt").stdout.strip()
    later = run("files", "put", str(running.folder / "movie.txt")).stdout.strip()
    of_job = json.loads(run("files", "put", "--job", job_id, str(running.folder / "movie.txt"), "--json").stdout)["uri"]

    assert cloud.read(later) == cloud.read(of_job) == b"hello"
    assert "/g0-uploads/operator/" in later
    assert f"/{job_id}/uploads/" in of_job


def test_transfers_show_their_progress_on_a_terminal_only(run: Run, running: Up, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(3_000_000))
    job_id = run("jobs", "submit", "video", "video=@movie.txt").stdout.strip()
    put = ("files", "put", "--job", job_id, str(tmp_path / "large.bin"))
    get = ("files", "get", job_id, "large.bin", str(tmp_path / "copy.bin"))

    shown = [on_terminal((*AVTOMATIKA, *each), running.folder, clean_environment()) for each in (put, get)]
    plain = run(*put)

    assert [code for code, _ in shown] == [0, 0], shown
    assert all(re.search(r"large\.bin +\[#+\] +100%", text) for _, text in shown), shown
    assert (plain.code, plain.stderr) == (0, "")


@pytest.mark.faults
def test_files_are_removed_with_their_jobs_if_configured(cloud: ObjectStorage, tmp_path: Path) -> None:
    bucket = cloud.make_bucket()
    with contextmanager(_running)(
        cloud, tmp_path / "project", bucket=bucket, S3_AUTO_CLEANUP="delete", JOB_TTL_SECONDS="1"
    ) as up:
        cloud.put(bucket, "raw/foreign.txt", "not ours")
        run = in_process(up.folder)
        job_id = run("jobs", "submit", "video", "video=@movie.txt").stdout.strip()
        assert run("jobs", "watch", job_id).code == 0

        up.wait_until(lambda: not any(key.startswith(job_id) for key in cloud.keys(bucket)))

    assert sorted(Path(key).name for key in cloud.keys(bucket)) == ["foreign.txt", "movie.txt"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"S3_AUTO_CLEANUP": "all", "S3_BUCKET": "b"}, "S3_AUTO_CLEANUP='all': must be one of keep, delete-inter"),
        ({"S3_AUTO_CLEANUP": "delete"}, "need S3_BUCKET, which is not set"),
    ],
)
def test_a_clean_up_without_a_bucket_prevents_the_start(run: Run, variables: dict[str, str], words: str) -> None:
    done = run("orchestrator", **variables)

    assert done.code == 2
    assert words in done.stderr


def test_lineage_prints_the_creator_and_the_users_of_a_file(run: Run, running: Up) -> None:
    maker = run("jobs", "submit", "video", "video=@movie.txt").stdout.strip()
    assert run("jobs", "watch", maker).code == 0, running.log
    uri = json.loads(run("jobs", "show", maker, "--json").stdout)["result"]["output"]
    user = run("jobs", "submit", "video", f"video={uri}").stdout.strip()

    found = json.loads(run("files", "lineage", uri, "--json").stdout)
    table = run("files", "lineage", uri).stdout

    assert (found["made_by"]["job_id"], found["made_by"]["state"]) == (maker, "start")
    assert found["made_by"]["worker_id"]
    assert [use["job_id"] for use in found["used_by"]] == [user]
    assert "made by a task" in table
    assert user in table


def test_a_missing_local_file_is_usage(run: Run) -> None:
    done = run("jobs", "submit", "video", "video=@nothing.txt")

    assert done.code == 2
    assert "'@nothing.txt': no such file" in done.stderr


def test_an_unknown_file_name_is_exit_code_4(run: Run) -> None:
    job_id = run("jobs", "submit", "video", "video=@movie.txt").stdout.strip()

    assert run("files", "get", job_id, "nothing").code == 4
