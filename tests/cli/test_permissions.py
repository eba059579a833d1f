"""The product as a user who may do what hosted servers allow: no INFO, CONFIG or other admin commands."""

from __future__ import annotations

from pathlib import Path

import redis

from ..support.installation import Installation

#: Commands that hosted servers refuse beside those of the category ``dangerous``.
REFUSED = ("-@admin", "-@dangerous", "-object", "-memory", "-latency", "-select", "-swapdb", "-move")


def test_a_job_runs_without_admin_commands(redis_url: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", "hosted", "on", ">pw", "~{avt.g0}:*", "&{avt.g0}:*", "+@all", *REFUSED)
        admin.execute_command("ACL", "LOG", "RESET")
        with Installation(redis_url.replace("//", "//hosted:pw@"), tmp_path) as installation:
            client = installation.client()
            job = client.wait(client.submit("three", {"n": 2})["job_id"], timeout=60)
            overview = client.overview()
        denied = {(entry["object"], entry["reason"]) for entry in admin.acl_log()}
        admin.execute_command("ACL", "DELUSER", "hosted")

    assert job["result"] == {"sum": 6}
    assert overview["now"]["jobs"]["finished"] == 1
    assert denied <= {("info", "command"), ("config|get", "command"), ("client|setinfo", "command")}
