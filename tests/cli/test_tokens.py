"""``avtomatika tokens``: nothing of it needs a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from avtomatika.cli.main import cli
from avtomatika.core.signing import WorkerKey, mac_key_of
from avtomatika.tokens import Workers, hash_token


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a workers.toml, and nothing in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("WORKERS_CONFIG_PATH", "WORKER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "workers.toml"
    path.write_text('[worker-video-1]\ntoken = "right-token-of-it"\n["cpu-*"]\ntoken = "token-of-the-fleet"\n')
    path.chmod(0o600)
    return tmp_path


def run(*args: str, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, ["tokens", *args], input=stdin)


def test_new_tokens_are_all_different_and_long() -> None:
    tokens = run("new", "--count", "3").stdout.split()

    assert len(set(tokens)) == 3
    assert all(len(token) == 43 for token in tokens)


def test_tokens_on_stdin_are_hashed() -> None:
    assert run("hash", stdin="one\ntwo\n").stdout.split() == [hash_token("one"), hash_token("two")]


def test_toml_lines_authorize_a_worker_over_http_and_on_the_broker(folder: Path) -> None:
    token = run("new").stdout.strip()
    (folder / "workers.toml").write_text(f"[mine]\n{run('hash', '--toml', stdin=token).stdout}")

    result = run("check", "mine", stdin=token)

    assert result.stdout == "mine is authorized by [mine]\n"
    assert result.stderr == ""
    signed = WorkerKey(mac_key_of(token)).signed(b"{}")
    assert Workers(path=folder / "workers.toml").skills_of_signer("mine", signed) is None  # all of them


def test_a_new_token_is_printed_with_its_toml_lines() -> None:
    head, *lines = run("new", "--toml").stdout.splitlines()

    assert lines == run("hash", "--toml", stdin=head.removeprefix("# token: ")).stdout.splitlines()


def test_a_hash_alone_authorizes_over_http_only(folder: Path) -> None:
    (folder / "workers.toml").write_text(f'[mine]\ntoken_sha256 = "{hash_token("t")}"\n')

    result = run("check", "mine", stdin="t")

    assert result.exit_code == 0
    assert "over HTTP only" in result.stderr


def test_the_names_in_the_file_are_listed() -> None:
    assert run("check").stdout.split() == ["worker-video-1", "cpu-*"]


def test_an_accepted_token_is_reported_with_its_section() -> None:
    result = run("check", "cpu-3", stdin="token-of-the-fleet\n")

    assert result.stdout == "cpu-3 is authorized by [cpu-*]\n"


def test_a_rejected_token_is_exit_code_5_and_not_shown() -> None:
    result = run("check", "worker-video-1", stdin="planted\n")

    assert result.exit_code == 5
    assert "planted" not in result.output


def test_an_invalid_file_is_exit_code_2(folder: Path) -> None:
    (folder / "workers.toml").write_text("[one]\n")

    result = run("check")

    assert result.exit_code == 2
    assert "workers.toml, line 1: [one] needs either token or token_sha256" in result.output
