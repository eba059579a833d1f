"""Counters of the actions of a client within a time window, shared by all web processes."""

from .server_part import ServerPart

#: The window in which names of skills without a queue are counted.
NEW_SKILLS_SECONDS = 3600


class ClientLimits(ServerPart):
    """Thread-safe; each method is one round trip."""

    def count_request(self, client: str, window: int, *, seconds: int) -> int:
        """Count a request of *client* in the *window* with this number, of *seconds*; return their number."""
        key = self._keys.requests(client, window)
        return int(self._read([("INCR", key), ("EXPIRE", key, seconds)])[0])

    def add_skills(self, client: str, skills: tuple[str, ...], *, most: int) -> bool:
        """Add skills without a queue that *client* names; return False, and add none, if it would be more than *most*
        within an hour."""
        key = self._keys.new_skills(client)
        commands = [("SADD", key, *skills), ("EXPIRE", key, NEW_SKILLS_SECONDS, "NX"), ("SCARD", key)]
        added, _, count = self._read(commands)
        if added and count > most:
            self._read([("SREM", key, *skills)])
            return False
        return True
