"""Publish a gallery before and after. Run it while ``avtomatika up`` runs here."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avtomatika.client import Client

IMAGES = [f"{number}.jpg" for number in range(20)]


def main() -> None:
    with_celery = publish_with_celery("Lakes", IMAGES, "ada@example.com")
    print(f"before: {with_celery}")
    with celery_worker(), Client.from_environment() as client:
        job_id = client.submit("gallery", {"title": "Lakes", "images": IMAGES, "to": "ada@example.com"})["job_id"]
        print(f"after:  {client.wait(job_id)['result']}")
        events = client.history(job_id)["events"]
    ended = [event for event in events if event["event_type"] in ("branch_finished", "task_succeeded")]
    moved = [event for event in ended if event["worker_id"] != "celery"]
    print(f"{len(moved)} tasks were done by avtomatika's worker, {len(ended) - len(moved)} by Celery's")


def publish_with_celery(title: str, images: list[str], to: str) -> str:
    """Run the chain and the chord in this process, as tests of Celery apps do."""
    sys.path.insert(0, "before")
    import gallery

    gallery.app.conf.update(task_always_eager=True, task_store_eager_result=False)
    return gallery.publish(title, images, to).apply_async().get()


@contextmanager
def celery_worker() -> Iterator[None]:
    """Run a stock Celery worker on the server of ``avtomatika up``."""
    port = json.loads(Path("var/server.json").read_text())["port"]
    environment = {**os.environ, "REDIS_URL": f"redis://localhost:{port}/0"}
    command = ("celery", "--workdir", "before", "--app", "gallery", "worker", "--pool", "solo", "--loglevel", "warning")
    with open("var/celery.log", "w") as log:
        worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    main()
