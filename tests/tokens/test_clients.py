from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from avtomatika.errors import SettingsError, UnauthorizedError
from avtomatika.tokens import SETTLE_SECONDS, ClientAccount, Clients, Workers, hash_token


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pass_time(clients: Clients, clock: Clock, seconds: float) -> None:
    """Have the file checked every half second."""
    for _ in range(round(seconds * 2)):
        clock.now += 0.5
        len(clients)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Put a clients.toml in place as careful editors do: by renaming a new file over it."""
    path = tmp_path / "clients.toml"

    def write(text: str) -> Path:
        fresh = tmp_path / "fresh"
        fresh.write_text(text)
        fresh.chmod(0o600)
        os.replace(fresh, path)
        return path

    return write


def test_the_token_of_the_environment_belongs_to_an_operator() -> None:
    clients = Clients(token="secret-of-operator")

    client = clients.identify("secret-of-operator")

    assert client == ClientAccount("operator", role="operator")
    assert client.is_operator


def test_a_section_is_a_client_with_its_plan_role_and_attempts(write: Callable[[str], Path]) -> None:
    path = write('[shop]\ntoken = "token-of-the-shop"\nplan = "gold"\nrole = "operator"\nmonthly_attempts = 100\n')

    client = Clients(path=path).identify("token-of-the-shop")

    assert client == ClientAccount("shop", role="operator", plan="gold", monthly_attempts=100)


def test_further_keys_are_params(write: Callable[[str], Path]) -> None:
    path = write('[shop]\ntoken = "token-of-the-shop"\nlanguages = ["en", "es"]\n[shop.limits]\nsize = 3\n')

    client = Clients(path=path).identify("token-of-the-shop")

    assert client.params == {"languages": ["en", "es"], "limits": {"size": 3}}
    assert client.role == "client"


def test_a_section_may_hold_the_hash_of_its_token(write: Callable[[str], Path]) -> None:
    path = write(f'[shop]\ntoken_sha256 = "{hash_token("token-of-the-shop")}"\n')

    clients = Clients(path=path)

    assert clients.identify("token-of-the-shop").name == "shop"
    with pytest.raises(UnauthorizedError):
        clients.identify(hash_token("token-of-the-shop"))


@pytest.mark.parametrize(
    "token", ["", "secret-of-operato", "secret-of-operator ", "SECRET-OF-OPERATOR", "sécret-of-operator", "x" * 65_536]
)
def test_unknown_tokens_are_rejected(token: str) -> None:
    clients = Clients(token="secret-of-operator")

    with pytest.raises(UnauthorizedError, match="no client has this token"):
        clients.identify(token)


def test_clients_are_found_by_name(write: Callable[[str], Path]) -> None:
    clients = Clients(path=write('[shop]\ntoken = "token-of-the-shop"\n'))

    assert clients.get("shop") == ClientAccount("shop")
    assert clients.get("other") is None


def test_clients_are_counted(write: Callable[[str], Path]) -> None:
    assert len(Clients()) == 0
    assert (
        len(
            Clients(
                token="token-of-operators",
                path=write('[a]\ntoken = "token-number-one-1"\n[b]\ntoken = "token-number-two-2"\n'),
            )
        )
        == 3
    )


def test_a_client_cannot_be_changed() -> None:
    client = ClientAccount("shop")

    with pytest.raises(FrozenInstanceError):
        client.role = "operator"  # type: ignore[misc]  # that it is refused is the point


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('[a]\ntoken = "token-number-one-1"\n\n[b]\nplan = "x"\n', 4, "[b] needs either token or token_sha256"),
        ('[a]\ntoken = "token-number-one-1"\ntoken_sha256 = "2"\n', 1, "[a] needs either token or token_sha256"),
        ('# who\n[a]\ntoken = ""\n', 2, "the token of [a] must be 16 to 512 ASCII characters without spaces"),
        ("[a]\ntoken = 5\n", 1, "the token of [a] must be"),
        ('[a]\ntoken_sha256 = "ABC"\n', 1, "token_sha256 of [a] must be 64 hex digits"),
        (
            '[a]\ntoken = "token-number-one-1"\nrole = "king"\n',
            1,
            "role of [a] is 'king', but must be one of client, operator",
        ),
        ('[a]\ntoken = "token-number-one-1"\nplan = 3\n', 1, "plan of [a] is 3, but must be text"),
        ('[a]\ntoken = "token-number-one-1"\nmonthly_attempts = -1\n', 1, "monthly_attempts of [a] is -1"),
        ('[a]\ntoken = "token-number-one-1"\n[b]\ntoken = "token-number-one-1"\n', 3, "[b] has the same token as 'a'"),
        ('["a b"]\ntoken = "token-number-one-1"\n', 1, "the name 'a b' must be"),
        ('x = 1\na = "b"\n', 1, "'x' must be a section"),
        ('[operator]\ntoken = "token-number-one-1"\n', 1, "[operator] is the client of CLIENT_TOKEN already"),
    ],
)
def test_a_wrong_file_stops_the_program_with_file_line_and_reason(
    write: Callable[[str], Path], text: str, line: int, reason: str
) -> None:
    path = write(text)

    with pytest.raises(SettingsError) as caught:
        Clients(token="token-of-operators", path=path)

    assert str(caught.value).startswith(f"{path}, line {line}: {reason}")


def test_a_file_that_does_not_parse_stops_the_program_with_file_line_and_reason(write: Callable[[str], Path]) -> None:
    path = write('[a]\ntoken = "1\n')

    with pytest.raises(SettingsError, match=r"clients\.toml: Illegal character.*line 2"):
        Clients(path=path)


def test_a_file_that_is_created_later_takes_effect(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "clients.toml"
    clients = Clients(token="token-of-operators", path=path, clock=clock)
    path.write_text('[a]\ntoken = "token-number-one-1"\n')
    path.chmod(0o600)

    pass_time(clients, clock, SETTLE_SECONDS + 2)

    assert clients.identify("token-number-one-1").name == "a"
    assert clients.identify("token-of-operators").is_operator


def test_no_message_shows_a_token(write: Callable[[str], Path]) -> None:
    path = write('[a]\ntoken = "canary-of-the-mine"\n[b]\ntoken = "canary-of-the-mine"\n')

    with pytest.raises(SettingsError) as caught:
        Clients(path=path)

    assert "canary-of-the-mine" not in str(caught.value)
    assert "canary-of-the-mine" not in repr(vars(Clients(token="canary-of-the-mine")))


def test_a_changed_file_is_read_again_after_a_second(write: Callable[[str], Path], clock: Clock) -> None:
    clients = Clients(path=write('[a]\ntoken = "token-number-one-1"\n'), clock=clock)
    write('[b]\ntoken = "token-number-two-2"\n')
    clock.now = 1.0

    assert clients.identify("token-number-two-2").name == "b"
    with pytest.raises(UnauthorizedError):
        clients.identify("token-number-one-1")


def test_a_file_is_looked_at_at_most_once_a_second(write: Callable[[str], Path], clock: Clock) -> None:
    clients = Clients(path=write('[a]\ntoken = "token-number-one-1"\n'), clock=clock)
    write('[b]\ntoken = "token-number-two-2"\n')
    clock.now = 0.9

    assert clients.identify("token-number-one-1").name == "a"


@pytest.mark.parametrize("text", ["[b\n", '[b]\nrole = "client"\n', "\udcff", "", "# nobody\n"])
def test_a_broken_file_leaves_the_old_clients_in_force_and_says_so_once(
    write: Callable[[str], Path], clock: Clock, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = write('[a]\ntoken = "token-number-one-1"\n')
    clients = Clients(path=path, clock=clock)
    path.write_bytes(text.encode(errors="surrogateescape"))

    for clock.now in (1.0, 2.0, 3.0):
        assert clients.identify("token-number-one-1").name == "a"

    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert str(path) in record.getMessage()
    assert "the clients loaded before stay in effect" in record.getMessage()


@pytest.mark.parametrize("text", ["", '[a]\ntoken = "token-number-one-1"\n'])
def test_a_file_that_is_edited_in_place_takes_effect_when_it_has_stopped_changing(
    write: Callable[[str], Path], clock: Clock, text: str
) -> None:
    whole = '[a]\ntoken = "token-number-one-1"\n[b]\ntoken = "token-number-two-2"\n'
    path = write(whole)
    clients = Clients(path=path, clock=clock)
    path.write_text(text)
    pass_time(clients, clock, SETTLE_SECONDS - 0.5)

    assert clients.identify("token-number-two-2").name == "b"
    path.write_text(whole + '[c]\ntoken = "token-number-three-3"\n')
    pass_time(clients, clock, SETTLE_SECONDS + 2)
    assert clients.identify("token-number-two-2").name == "b"
    assert clients.identify("token-number-three-3").name == "c"


def test_the_problem_of_a_file_is_known_until_it_is_repaired(write: Callable[[str], Path], clock: Clock) -> None:
    path = write('[a]\ntoken = "token-number-one-1"\n')
    clients = Clients(path=path, clock=clock)
    problems = []
    for text in ("", '[a]\ntoken = "token-number-one-1"\n'):
        write(text)
        pass_time(clients, clock, 2)
        problems.append(clients.problem)

    assert problems == [f"{path}: it names no clients; to revoke all of them, write revoke_all = true", None]


def test_everybody_is_revoked_by_a_word_of_its_own(write: Callable[[str], Path], clock: Clock) -> None:
    clients = Clients(token="token-of-operators", path=write('[a]\ntoken = "token-number-one-1"\n'), clock=clock)
    write("revoke_all = true\n")
    pass_time(clients, clock, 2)

    with pytest.raises(UnauthorizedError):
        clients.identify("token-number-one-1")
    assert clients.identify("token-of-operators").is_operator
    assert clients.are_configured


def test_a_section_has_two_tokens_while_they_are_rotated(write: Callable[[str], Path], clock: Clock) -> None:
    path = write('[a]\ntoken = ["token-number-one-1", "token-number-two-2"]\n')
    clients = Clients(token="token-of-operators", previous_token="the-token-before-it", path=path, clock=clock)

    assert {clients.identify(token).name for token in ("token-number-one-1", "token-number-two-2")} == {"a"}
    assert clients.identify("the-token-before-it") == clients.identify("token-of-operators")
    assert len(clients) == 2


@pytest.mark.parametrize("token", ["", "x" * 15, "x" * 513, "with a space in it"])
def test_a_token_that_is_short_or_fits_no_header_is_refused(token: str, write: Callable[[str], Path]) -> None:
    for name, make in {
        "CLIENT_TOKEN": lambda: Clients(token=token),
        "CLIENT_TOKEN_PREVIOUS": lambda: Clients(previous_token=token),
        "the token of [a]": lambda: Clients(path=write(f'[a]\ntoken = "{token}"\n')),
        "WORKER_TOKEN": lambda: Workers(token=token),
        "the token of [b]": lambda: Workers(path=write(f'[b]\ntoken = ["{"y" * 16}", "{token}"]\n')),
    }.items():
        with pytest.raises(SettingsError) as caught:
            make()
        assert f"{name} must be 16 to 512 ASCII characters without spaces" in str(caught.value)
        assert not token or token not in str(caught.value)


def test_a_file_that_vanished_leaves_the_old_clients_in_force(write: Callable[[str], Path], clock: Clock) -> None:
    path = write('[a]\ntoken = "token-number-one-1"\n')
    clients = Clients(path=path, clock=clock)
    path.unlink()
    clock.now = 1.0

    assert clients.identify("token-number-one-1").name == "a"


def test_a_repaired_file_takes_effect(write: Callable[[str], Path], clock: Clock) -> None:
    clients = Clients(path=write('[a]\ntoken = "token-number-one-1"\n'), clock=clock)
    write("[broken\n")
    clock.now = 1.0
    clients.get("a")
    write('[b]\ntoken = "token-number-two-2"\n')
    clock.now = 2.0

    assert clients.get("b") == ClientAccount("b")


def test_a_file_that_everybody_can_read_is_warned_about(
    write: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = write('[a]\ntoken = "token-number-one-1"\n')
    path.chmod(0o644)

    Clients(path=path)

    assert "can be read by all users" in caplog.text


def test_a_file_that_has_not_changed_for_long_takes_effect_when_it_is_first_seen(
    write: Callable[[str], Path], clock: Clock
) -> None:
    path = write('[a]\ntoken = "token-number-one-1"\n')
    clients = Clients(path=path, clock=clock)
    path.write_text('[b]\ntoken = "token-number-two-2"\n')
    before = path.stat().st_mtime - SETTLE_SECONDS
    os.utime(path, (before, before))
    clock.now = 60.0

    assert clients.identify("token-number-two-2").name == "b"


def test_the_weights_are_those_of_the_clients_that_have_one(write: Callable[[str], Path], clock: Clock) -> None:
    path = write('[a]\ntoken = "token-of-a-in-tests"\nweight = 2\n[b]\ntoken = "token-of-b-in-tests"\n')
    clients = Clients(path=path, clock=clock)
    first = clients.weights
    write('[a]\ntoken = "token-of-a-in-tests"\nweight = 0.5\n[b]\ntoken = "token-of-b-in-tests"\n')
    pass_time(clients, clock, 2)

    assert (first, clients.weights) == ({"a": 2}, {"a": 0.5})


def test_without_a_file_there_are_no_weights(tmp_path: Path) -> None:
    assert Clients(path=tmp_path / "clients.toml").weights is None
    assert Clients().weights is None


@pytest.mark.parametrize("weight", ["0", "-1", "101", "true", "'2'"])
def test_an_invalid_weight_is_refused(write: Callable[[str], Path], weight: str) -> None:
    path = write(f'[a]\ntoken = "token-of-a-in-tests"\nweight = {weight}\n')

    with pytest.raises(SettingsError, match=r"weight.*a number from 0\.01 to 100"):
        Clients(path=path)
