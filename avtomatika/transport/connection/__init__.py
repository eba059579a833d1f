"""Connections to the server: URLs, TLS, Sentinel, the pool, and :class:`.redis_client.RedisClient`, which sends
commands."""
