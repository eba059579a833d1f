"""Run an example from start to end:  make example NAME=documents   or   python examples/run.py documents

Starts ``avtomatika up`` in a copy of the example's folder, runs its ``client.py`` there, and stops everything.
"""

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from avtomatika.client import Client

EXAMPLES = Path(__file__).resolve().parent
START_SECONDS, STOP_SECONDS = 120, 60
#: Addresses of other installations, which an example must not use.
ADDRESSES = ("REDIS_URL", "AVTOMATIKA_URL", "ORCHESTRATOR_URL", "ORCHESTRATORS_CONFIG")


def main() -> int:
    names = sorted(client.parent.name for client in EXAMPLES.glob("*/client.py"))
    parser = argparse.ArgumentParser(description="Run an example from start to end.")
    parser.add_argument("name", choices=names)
    parser.add_argument("--folder", type=Path, help="a new folder for the copy and all that is written; it is kept")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    wanted = parser.parse_args()
    with TemporaryDirectory(prefix="avtomatika-") as temporary:
        folder = (wanted.folder or Path(temporary) / wanted.name).resolve()
        shutil.copytree(EXAMPLES / wanted.name, folder, ignore=shutil.ignore_patterns("var", "__pycache__"))
        os.chdir(folder)  # where clients and commands find the installation
        environment = {name: value for name, value in os.environ.items() if name not in ADDRESSES}
        environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        environment["CLIENT_TOKEN"] = secrets.token_urlsafe(32)
        with running(environment):
            code = subprocess.run((sys.executable, "client.py"), env=environment).returncode
            if wanted.keep:
                wait_for_interrupt(environment["CLIENT_TOKEN"])
    return code


@contextmanager
def running(environment: dict[str, str]) -> Iterator[None]:
    """Run ``avtomatika up`` in the working directory, with its output in a file."""
    Path("var").mkdir(mode=0o700)
    log = Path("var", "up.log")
    print(f"starting avtomatika up in {Path.cwd()} (its output: {log})", flush=True)
    with log.open("w") as output:
        up = subprocess.Popen(
            (sys.executable, "-m", "avtomatika.cli", "up"),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,  # Ctrl-C is for this program, which stops the other one
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "avtomatika is up" not in log.read_text():
            if up.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"avtomatika up did not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        up.terminate()
        try:
            up.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            up.kill()


def wait_for_interrupt(token: str) -> None:
    with Client.from_environment(token) as client:
        print(f"running until Ctrl-C; the pages: {client.login_link()['url']}", flush=True)
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
