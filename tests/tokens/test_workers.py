from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from avtomatika.core.signing import WorkerKey, mac_key_of
from avtomatika.errors import SettingsError, UnauthorizedError
from avtomatika.tokens import WorkerAccess, Workers, hash_token, new_token

SEED = """
# workers.toml
[worker-video-1]
token = "unique-secret-token-for-video-1"

[worker-audio-5]
token = "another-secret-for-audio-5"
"""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Notebook:
    """A memory that this process alone has."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def remember(self, names: Iterable[str]) -> None:
        self.names.update(names)

    def recall(self) -> frozenset[str]:
        return frozenset(self.names)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Put a workers.toml in place as careful editors do: by renaming a new file over it."""
    path = tmp_path / "workers.toml"

    def write(text: str) -> Path:
        fresh = tmp_path / "fresh"
        fresh.write_text(text)
        fresh.chmod(0o600)
        os.replace(fresh, path)
        return path

    return write


def lets_in(workers: Workers, worker_id: str, token: str) -> bool:
    try:
        workers.identify(worker_id, token)
    except UnauthorizedError:
        return False
    return True


def test_each_worker_authenticates_with_its_own_token_only(write: Callable[[str], Path]) -> None:
    workers = Workers(path=write(SEED))

    assert lets_in(workers, "worker-video-1", "unique-secret-token-for-video-1")
    assert not lets_in(workers, "worker-video-1", "another-secret-for-audio-5")
    assert not lets_in(workers, "worker-video-1", "unique-secret-token-for-video-1 ")
    assert not lets_in(workers, "worker-video-1", hash_token("unique-secret-token-for-video-1"))
    assert not lets_in(workers, "worker-video-1", "")
    assert not lets_in(workers, "worker-video-2", "unique-secret-token-for-video-1")


def test_the_shared_token_is_for_those_that_no_section_names(write: Callable[[str], Path]) -> None:
    workers = Workers(token="the-shared-token", path=write(SEED + '["cpu-*"]\ntoken = "token-of-the-fleet"\n'))

    assert workers.identify("anybody", "the-shared-token") == WorkerAccess("anybody", None)
    assert not lets_in(workers, "worker-video-1", "the-shared-token")
    assert not lets_in(workers, "cpu-7", "the-shared-token")


def test_exact_sections_precede_patterns_and_long_patterns_short_ones(write: Callable[[str], Path]) -> None:
    workers = Workers(
        path=write(
            '["cpu-*"]\ntoken = "aaaaaaaaaaaaaaaa"\n'
            '["cpu-big-*"]\ntoken = "bbbbbbbbbbbbbbbb"\n[cpu-big-1]\ntoken = "cccccccccccccccc"\n'
        ),
    )

    assert [lets_in(workers, "cpu-1", token * 16) for token in "abc"] == [True, False, False]
    assert [lets_in(workers, "cpu-big-2", token * 16) for token in "abc"] == [False, True, False]
    assert [lets_in(workers, "cpu-big-1", token * 16) for token in "abc"] == [False, False, True]


def test_a_hash_in_place_of_the_token_lets_its_token_in(write: Callable[[str], Path]) -> None:
    token = new_token()

    workers = Workers(path=write(f'[one]\ntoken_sha256 = "{hash_token(token)}"\nskills = ["encode"]\n'))

    access = workers.identify("one", token)
    assert access.may_run("encode")
    assert not access.may_run("decode")


def test_a_disabled_section_rejects_its_workers(write: Callable[[str], Path]) -> None:
    workers = Workers(token="the-shared-token", path=write('[one]\ntoken = "token-of-someone"\nenabled = false\n'))

    assert not lets_in(workers, "one", "token-of-someone")
    assert not lets_in(workers, "one", "the-shared-token")


def test_a_change_is_in_force_within_two_seconds(write: Callable[[str], Path]) -> None:
    clock = Clock()
    workers = Workers(path=write(SEED), clock=clock)

    write('[worker-video-1]\ntoken = "a-new-long-token"\n')
    clock.now += 1.9

    assert lets_in(workers, "worker-video-1", "a-new-long-token")
    assert not lets_in(workers, "worker-video-1", "unique-secret-token-for-video-1")
    assert not lets_in(workers, "worker-audio-5", "another-secret-for-audio-5")


def test_removed_workers_cannot_use_the_shared_token(write: Callable[[str], Path]) -> None:
    clock, notebook = Clock(), Notebook()
    workers = Workers(token="the-shared-token", path=write(SEED), revoked_names=notebook, clock=clock)
    assert not lets_in(workers, "worker-audio-5", "the-shared-token")

    path = write('[worker-video-1]\ntoken = "a-new-long-token"\n')
    clock.now += 2
    another_process = Workers(token="the-shared-token", path=path, revoked_names=notebook)

    assert not lets_in(workers, "worker-audio-5", "the-shared-token")
    assert not lets_in(another_process, "worker-audio-5", "the-shared-token")
    assert lets_in(workers, "worker-audio-6", "the-shared-token")


def test_a_worker_that_an_operator_revoked_is_rejected_whatever_its_token(write: Callable[[str], Path]) -> None:
    clock, notebook = Clock(), Notebook()
    workers = Workers(token="the-shared-token", path=write(SEED), revoked_names=notebook, clock=clock)
    without_tokens = Workers(revoked_names=notebook, clock=clock)

    def seen() -> list[bool]:
        clock.now += 2
        return [
            lets_in(workers, "worker-video-1", "unique-secret-token-for-video-1"),
            has_signed(workers, "worker-video-1", signed("unique-secret-token-for-video-1")),
            workers.may_authenticate("worker-video-1"),
            lets_in(workers, "anybody", "the-shared-token"),
            has_signed(without_tokens, "anybody", TEXT),
            without_tokens.may_authenticate("anybody"),
        ]

    before = seen()
    notebook.names |= {"!worker-video-1", "!anybody"}
    revoked = seen()
    notebook.names -= {"!worker-video-1", "!anybody"}

    assert (before, revoked, seen()) == ([True] * 6, [False] * 6, [True] * 6)
    assert lets_in(workers, "worker-audio-5", "another-secret-for-audio-5")


TEXT = b'{"v":1,"kind":"result"}'


def signed(token: str) -> bytes:
    return WorkerKey(mac_key_of(token)).signed(TEXT)


def has_signed(workers: Workers, worker_id: str, text: bytes) -> bool:
    try:
        workers.skills_of_signer(worker_id, text)
    except UnauthorizedError:
        return False
    return True


def test_a_worker_signs_with_its_own_token_only(write: Callable[[str], Path]) -> None:
    workers = Workers(token="the-shared-token", path=write(SEED + '["cpu-*"]\ntoken = "token-of-the-fleet"\n'))

    assert has_signed(workers, "worker-audio-5", signed("another-secret-for-audio-5"))
    assert has_signed(workers, "cpu-3", signed("token-of-the-fleet"))
    assert has_signed(workers, "anybody", signed("the-shared-token"))
    assert not has_signed(workers, "worker-audio-5", TEXT)
    assert not has_signed(workers, "worker-audio-5", signed("unique-secret-token-for-video-1"))
    assert not has_signed(workers, "worker-audio-5", signed("the-shared-token"))
    assert not has_signed(workers, "cpu-3", signed("the-shared-token"))
    assert not has_signed(workers, "a b", signed("the-shared-token"))


def test_signatures_are_verified_by_mac_key_if_there_is_only_a_hash(write: Callable[[str], Path]) -> None:
    hashes = f'token_sha256 = "{hash_token("token-of-someone")}"\n'
    workers = Workers(path=write(f'[both]\n{hashes}mac_key = "{mac_key_of("token-of-someone")}"\n[hash]\n{hashes}'))

    assert has_signed(workers, "both", signed("token-of-someone"))
    assert workers.identify("both", "token-of-someone").may_sign
    assert not has_signed(workers, "hash", signed("token-of-someone"))
    assert not workers.identify("hash", "token-of-someone").may_sign


def test_signatures_of_disabled_and_removed_workers_are_rejected(write: Callable[[str], Path]) -> None:
    clock, notebook = Clock(), Notebook()
    workers = Workers(token="the-shared-token", path=write(SEED), revoked_names=notebook, clock=clock)
    before = has_signed(workers, "worker-audio-5", signed("another-secret-for-audio-5"))

    write('[worker-video-1]\ntoken = "token-of-someone"\nenabled = false\n')
    clock.now += 2

    assert before
    assert not has_signed(workers, "worker-video-1", signed("token-of-someone"))
    assert not has_signed(workers, "worker-audio-5", signed("another-secret-for-audio-5"))
    assert not has_signed(workers, "worker-audio-5", signed("the-shared-token"))


def test_signed_messages_have_the_skills_of_the_section(write: Callable[[str], Path]) -> None:
    clock = Clock()
    bounded = (
        '[some]\ntoken = "token-of-someone"\nskills = ["encode"]\n[none]\ntoken = "token-of-no-skill"\nskills = []\n'
    )
    workers = Workers(token="the-shared-token", path=write(SEED + bounded), clock=clock)

    assert workers.skills_of_signer("some", signed("token-of-someone")) == {"encode"}
    assert workers.skills_of_signer("none", signed("token-of-no-skill")) == frozenset()
    assert workers.skills_of_signer("worker-audio-5", signed("another-secret-for-audio-5")) is None
    assert workers.skills_of_signer("anybody", signed("the-shared-token")) is None

    write(bounded.replace("encode", "decode"))
    clock.now += 2

    assert workers.skills_of_signer("some", signed("token-of-someone")) == {"decode"}


@pytest.mark.parametrize("text", ["[worker-video-1", "[one]\n", 'x = "\x00', "", "\n"])
def test_a_file_that_breaks_leaves_the_old_one_in_force(
    write: Callable[[str], Path], caplog: pytest.LogCaptureFixture, text: str
) -> None:
    clock = Clock()
    workers = Workers(path=write(SEED), clock=clock)

    write(text)
    clock.now += 2

    assert lets_in(workers, "worker-video-1", "unique-secret-token-for-video-1")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "the workers loaded before stay in effect" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a]\ntoken = 'token-of-someone'\n[b]\n", "line 3: [b] needs either token or token_sha256"),
        ("[a]\ntoken = 'token-of-someone'\ntoken_sha256 = 'x'\n", "line 1: [a] needs either token or token_sha256"),
        ("[a]\ntoken_sha256 = 'secret'\n", "token_sha256 of [a] must be 64 hex digits"),
        ("['a b']\ntoken = 'token-of-someone'\n", "line 1: the id 'a b' must be 1 to 128 letters"),
        ("[a]\ntoken = 'token-of-someone'\nskills = 'encode'\n", "skills of [a] are 'encode'"),
        ("[a]\ntoken = 'token-of-someone'\nenabled = 1\n", "enabled of [a] is 1, but must be true or false"),
        ("[a]\ntoken = 'token-of-someone'\nskill = ['encode']\n", "[a] has 'skill', but a worker has only"),
        ("[a]\ntoken = 'token-of-someone'\nmac_key = 'k'\n", "[a] has a token, from which its mac_key is derived"),
        (f"[a]\ntoken_sha256 = '{'0' * 64}'\nmac_key = 'secret'\n", "mac_key of [a] must be 64 hex digits"),
        ("a = 't'\n", "line 1: 'a' must be a section"),
        ("[a]\ntoken = 'token-of-someone'\n[a]\ntoken = 'token-of-another'\n", "line 3"),
    ],
)
def test_at_the_start_a_fault_is_named_with_file_line_and_reason(
    write: Callable[[str], Path], text: str, reason: str
) -> None:
    path = write(text)

    with pytest.raises(SettingsError) as raised:
        Workers(path=path)

    assert str(path) in str(raised.value)
    assert reason in str(raised.value)


def test_a_file_that_others_can_read_is_warned_about(
    write: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = write(SEED)
    path.chmod(0o644)

    Workers(path=path)

    assert "can be read by all users" in caplog.text


@pytest.mark.parametrize("worker_id", ["", "a b", "../x", "*", "x" * 129, "ä"])
def test_invalid_ids_are_rejected_like_wrong_tokens(worker_id: str) -> None:
    assert not lets_in(Workers(token="the-shared-token"), worker_id, "the-shared-token")


def test_without_tokens_all_workers_are_rejected() -> None:
    workers = Workers()

    assert not workers
    assert not lets_in(workers, "anybody", "")


def test_a_first_file_closes_the_door_and_an_empty_one_does_not_open_it(write: Callable[[str], Path]) -> None:
    clock = Clock()
    workers = Workers(path=write(SEED).with_name("later.toml"), local_token="the-local-token", clock=clock)
    was_open = workers.skills_of_signer(None, TEXT) is None and workers.may_authenticate("anybody")

    path = write(SEED)
    path.rename(path.with_name("later.toml"))
    for _ in range(6):
        clock.now += 1
        bool(workers)

    assert was_open
    assert not has_signed(workers, "worker-video-1", TEXT)
    assert has_signed(workers, "of-up", signed("the-local-token"))
    with pytest.raises(UnauthorizedError):
        workers.skills_of_signer(None, TEXT)


def test_two_tokens_of_a_section_count_while_they_are_rotated(write: Callable[[str], Path]) -> None:
    clock = Clock()
    old, new = "token-number-one-1", "token-number-two-2"
    workers = Workers(path=write(f'[one]\ntoken = ["{new}", "{old}"]\n'), clock=clock)
    by_old = workers.identify("one", old)

    assert lets_in(workers, "one", new)
    assert has_signed(workers, "one", signed(old))
    assert has_signed(workers, "one", signed(new))
    assert workers.identify_session("one", by_old.basis).is_by_session

    write(f'[one]\ntoken = "{new}"\n')
    clock.now += 2
    assert lets_in(workers, "one", new)
    assert not lets_in(workers, "one", old)
    assert not has_signed(workers, "one", signed(old))
    with pytest.raises(UnauthorizedError):
        workers.identify_session("one", by_old.basis)


def test_the_shared_token_has_a_previous_one() -> None:
    workers = Workers(token="the-shared-token", previous_token="the-one-before-it")

    assert lets_in(workers, "anybody", "the-one-before-it")
    assert has_signed(workers, "anybody", signed("the-one-before-it"))


def test_all_workers_are_revoked_by_a_word_of_its_own(write: Callable[[str], Path]) -> None:
    clock = Clock()
    workers = Workers(token="the-shared-token", path=write(SEED), clock=clock)
    write(f"revoke_all = true\n{SEED}")
    clock.now += 2

    assert not workers.may_authenticate("worker-video-1")
    assert not lets_in(workers, "worker-video-1", "unique-secret-token-for-video-1")
    assert not lets_in(workers, "anybody", "the-shared-token")
    assert not has_signed(workers, "anybody", signed("the-shared-token"))
    assert not workers


def test_may_authenticate_knows_revoked_workers(write: Callable[[str], Path]) -> None:
    workers = Workers(path=write(SEED + '[off]\ntoken = "token-of-someone"\nenabled = false\n'))

    assert workers.may_authenticate("worker-video-1")
    assert not workers.may_authenticate("off")
    assert not workers.may_authenticate("removed")
    assert Workers(token="the-shared-token").may_authenticate("anybody")
    assert Workers().may_authenticate("anybody")  # on the broker no worker needs a token
