"""The data stores of blueprints on Redis, each of them a hash."""

from avtomatika.transport.scripts import Call

from .scripts import DATA_INCR
from .server_part import ServerPart


class RedisData(ServerPart):
    """A ``core.data_store.Data``. Thread-safe. Raises UnavailableError if the server is down."""

    def get(self, store: tuple[str, str], key: str) -> str | None:
        [text] = self._read([("HGET", self._keys.data(*store), key)])
        return None if text is None else str(text.decode())

    def set(self, store: tuple[str, str], key: str, text: str) -> None:
        self._read([("HSET", self._keys.data(*store), key, text)])

    def incr(self, store: tuple[str, str], key: str, by: str, *, first: str) -> str | None:
        text = self._run(Call(DATA_INCR, [self._keys.data(*store)], [key, by, first]))
        return None if text is None else str(text.decode())
