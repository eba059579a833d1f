"""HTTP health check: ``/livez`` reports loops that are stuck."""

import logging
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson

from avtomatika.core.job import Json
from avtomatika.errors import SettingsError

logger = logging.getLogger(__name__)

#: Time after which a loop counts as stuck; no normal wait is longer.
STUCK_AFTER_SECONDS = 90.0


class Health:
    """Listens on *port* of all interfaces; *ages* returns the seconds since each loop last ran."""

    def __init__(
        self, port: int, ages: Callable[[], Mapping[str, float]], unfit: Callable[[], Json] = lambda: None
    ) -> None:
        """*unfit* returns why some skills are suspended, or None. Raises SettingsError if the port is not available."""
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
    allow_reuse_port = False  # two workers must not share a port


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
        unfit = self.unfit()  # a restart would not help, so the worker counts as alive
        status = "stuck" if stuck else "unfit" if unfit else "ok"
        body = orjson.dumps({"status": status, "stuck": stuck, "loops": loops, "unfit": unfit})
        self.send_response(503 if stuck else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        logger.debug(format, *args)
