"""``AVTOMATIKA_GROUP``: several installations on one server."""

from __future__ import annotations

from pathlib import Path

import redis

from ..support.installation import Installation


def test_two_groups_share_a_server_and_nothing_else(redis_url: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("g1", "g2")]
    for folder in folders:
        folder.mkdir()
    with (
        Installation(redis_url, folders[0], AVTOMATIKA_GROUP="g1") as one,
        Installation(redis_url, folders[1], AVTOMATIKA_GROUP="g2") as other,
    ):
        clients = [one.client(), other.client()]
        ids = [client.submit("three", {"n": 1}, idempotency_key="same")["job_id"] for client in clients]
        ended = [client.wait(job_id, timeout=60) for client, job_id in zip(clients, ids, strict=True)]
        listed = [[job["id"] for job in client.jobs()] for client in clients]
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        prefixes = {key.partition(":")[0] for key in client.scan_iter()}

    assert [job["result"] for job in ended] == [{"sum": 3}, {"sum": 3}]
    assert [job_id.split("-")[0] for job_id in ids] == ["g1", "g2"]
    assert listed == [[ids[0]], [ids[1]]]
    assert prefixes == {"{avt.g1}", "{avt.g2}"}
