"""The product as a user who may do what hosted servers allow: no INFO, CONFIG or other admin commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from ..support.installation import Installation

#: Commands that hosted servers refuse beside those of the category ``dangerous``.
REFUSED = ("-@admin", "-@dangerous", "-object", "-memory", "-latency", "-select", "-swapdb", "-move")


@pytest.mark.parametrize("shards", [1, 3])
def test_a_job_runs_without_admin_commands(redis_url: str, tmp_path: Path, shards: int) -> None:
    allowed = ["~{avt.g0}:*", "&{avt.g0}:*", *(["~{avt.g0_*", "&{avt.g0_*"] if shards > 1 else [])]
    with redis.Redis.from_url(redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", "hosted", "on", ">pw", *allowed, "+@all", *REFUSED)
        admin.execute_command("ACL", "LOG", "RESET")
        address = redis_url.replace("//", "//hosted:pw@")
        with Installation(address, tmp_path, AVTOMATIKA_SHARDS=str(shards)) as installation:
            client = installation.client()
            job = client.wait(client.submit("three", {"n": 2})["job_id"], timeout=60)
            overview = client.overview()
        denied = {(entry["object"], entry["reason"]) for entry in admin.acl_log()}
        admin.execute_command("ACL", "DELUSER", "hosted")

    assert job["result"] == {"sum": 6}
    assert overview["now"]["jobs"]["finished"] == 1
    assert denied <= {("info", "command"), ("config|get", "command"), ("client|setinfo", "command")}
