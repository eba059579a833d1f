"""``avtomatika limits`` and the limits.toml of the orchestrator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from avtomatika.cli.definition_files import limits_of_file
from avtomatika.core.limits import LimitValues
from avtomatika.errors import SettingsError

from ..support.cli import Run

FILE = """
[skills.encode]
concurrency = 10

[blueprints.video]
rate = "100/m"

[clients.acme]
concurrency = 5
rate = "900/hour"

[keys."acct 7"]
concurrency = 3
"""


@pytest.fixture
def there(run: Run, redis_url: str) -> Callable[..., str]:
    """Run a command against a server; return what it prints."""

    def there(*args: str, code: int = 0) -> str:
        done = run("limits", *args, REDIS_URL=redis_url)
        assert done.code == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return there


def test_limits_are_set_listed_paused_resumed_and_removed(there: Callable[..., str]) -> None:
    there("set", "skill", "encode", "--concurrency", "3")
    there("set", "key", "acct 7", "--rate", "100/m")
    paused, [of_key, of_skill] = there("pause", "skill", "encode"), json.loads(there("list", "--json"))
    there("resume", "skill", "encode")
    there("remove", "key", "acct 7")

    assert "paused by    operator" in paused
    assert (of_key["name"], of_key["rate"]) == ("acct 7", "100/minute")
    assert (of_skill["concurrency"], of_skill["paused_by"]) == (3, "operator")
    assert "acct 7" not in there("list")


def test_errors_say_what_is_wrong(there: Callable[..., str]) -> None:
    assert "rate is 'fast'" in there("set", "skill", "encode", "--rate", "fast", code=2)
    assert "concurrency or rate must be given" in there("set", "skill", "encode", code=2)
    assert "no limit 'skill:encode'" in there("remove", "skill", "encode", code=4)


def test_the_file_has_a_section_for_each_limit(tmp_path: Path) -> None:
    (tmp_path / "limits.toml").write_text(FILE)

    assert limits_of_file(tmp_path / "limits.toml")() == {
        "skill:encode": LimitValues.of(10),
        "blueprint:video": LimitValues.of(None, "100/m"),
        "client:acme": LimitValues.of(5, "900/h"),
        "key:acct 7": LimitValues.of(3),
    }
    assert limits_of_file(tmp_path / "absent.toml")() is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[skill.encode]\nconcurrency = 1", r"line 1: \[skill\] is not one of the sections skills, blueprints"),
        ("\n[skills.encode]\nconcurrency = 0", r"line 2: \[skills.encode\]: concurrency must be a whole number"),
        ("[skills.encode]\nspeed = 1", r"\[skills.encode\]: must have concurrency, rate, or both"),
        ("[skills]\nencode = 3", r"\[skills.encode\]: must have concurrency, rate, or both"),
        ('[skills."a b"]\nconcurrency = 3', r"\[skills.a b\]: name of a skill cannot be 'a b'"),
    ],
)
def test_an_invalid_file_is_an_error_at_the_start(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "limits.toml").write_text(text)

    with pytest.raises(SettingsError, match=message):
        limits_of_file(tmp_path / "limits.toml")


def test_check_names_the_limits_of_the_file(run: Run, project: Path) -> None:
    (project / "limits.toml").write_text(FILE)

    assert "limits.toml: skill:encode, blueprint:video, client:acme, key:acct 7" in run("check").stdout
