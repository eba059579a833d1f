"""Whether a worker gets on, told over HTTP: ``/livez`` says which of its loops have not moved for too long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson

from avtomatika.core.job import Json
from avtomatika.errors import SettingsError

logger = logging.getLogger(__name__)

#: A loop that has not moved so long hangs: none waits longer for anything.
STUCK_AFTER_SECONDS = 90.0


class Health:
    """Answers at *port* of every interface; *ages* tells for each loop how many seconds ago it moved."""

    def __init__(
        self, port: int, ages: Callable[[], Mapping[str, float]], unfit: Callable[[], Json] = lambda: None
    ) -> None:
        """*unfit* answers why the worker cannot do some of its skills for now. Raises SettingsError where the port
        cannot be had."""
        handler = type("Handler", (_Handler,), {"ages": staticmethod(ages), "unfit": staticmethod(unfit)})
        try:
            self._server = _Server(("", port), handler)
        except OSError as error:
            raise SettingsError(f"WORKER_HEALTH_PORT={port}: {error.strerror}") from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_port = False  # two workers never share a port


class _Handler(BaseHTTPRequestHandler):
    ages: Callable[[], Mapping[str, float]]
    unfit: Callable[[], Json]
    timeout = 10

    def do_GET(self) -> None:
        if self.path != "/livez":
            self.send_error(404)
            return
        ages = self.ages()
        stuck = sorted(name for name, age in ages.items() if age > STUCK_AFTER_SECONDS)
        loops = {name: round(age, 3) for name, age in ages.items()}
        unfit = self.unfit()  # no restart mends that, so the worker is alive all the same
        status = "stuck" if stuck else "unfit" if unfit else "ok"
        body = orjson.dumps({"status": status, "stuck": stuck, "loops": loops, "unfit": unfit})
        self.send_response(503 if stuck else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        logger.debug(format, *args)
