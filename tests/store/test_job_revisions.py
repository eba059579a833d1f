"""A glance at many jobs."""

from __future__ import annotations

import redis

from avtomatika.store import JobRevision, RedisClient
from avtomatika.store.job_revisions import JobRevisions


def test_a_foreign_key_hides_no_other_job(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset("{avt.g0}:job:a", "v", 3)
        client.rpush("{avt.g0}:job:a:history", "1", "2")
        client.hset("{avt.g0}:job:a:tasks", "t/progress", "1 2 0.5 x")
        client.set("{avt.g0}:job:foreign", "x")
        client.hset("{avt.g0}:job:odd", "v", "x")
    server = RedisClient.connect(redis_url)

    found = JobRevisions(server).read([("a", ("t", "u")), ("foreign", ()), ("odd", ()), ("gone", ())])
    server.close()

    nothing = JobRevision(None, 0, ())
    assert found == {
        ("a", ("t", "u")): JobRevision(3, 2, (b"1 2 0.5 x", None)),
        ("foreign", ()): nothing,
        ("odd", ()): nothing,
        ("gone", ()): nothing,
    }
