"""Settings: the environment as one value, and errors that name what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avtomatika.errors import SettingsError
from avtomatika.settings import Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing set, in an empty folder."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_environment()

    assert settings == Settings()
    assert settings.redis_url is None
    assert settings.port == 8080


def test_a_blank_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "  ")
    monkeypatch.setenv("API_PORT", "")

    assert Settings.from_environment() == Settings()


def test_every_variable_reaches_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "REDIS_URL": "rediss://user:secret@redis:6380/1",
        "SECRET_KEY": "key",
        "AVTOMATIKA_GROUP": "eu-1",
        "CLIENT_TOKEN": "client",
        "WORKER_TOKEN": "worker",
        "BLUEPRINTS": "shop.orders,blueprints/",
        "API_PORT": "9000",
        "JOB_TTL_SECONDS": "60",
        "REDIS_MAX_CONNECTIONS": "8",
        "WEB_MAX_WAITING": "100",
        "WEB_CLIENT_SHARE": "0.25",
        "JOB_MAX_RETRIES": "0",
        "MAX_TRANSITIONS_PER_JOB": "7",
        "HANDLER_TIMEOUT": "2.5",
        "WORKER_LEASE_SECONDS": "15",
        "MAX_DELIVERIES": "2",
        "MAX_DEAD_LETTERS": "20",
        "DEAD_LETTER_TTL_SECONDS": "3600",
        "PLAN_TAKEOVER_SECONDS": "7.5",
        "WEBHOOK_SECRET": "hook",
        "WEBHOOK_ALLOW": "127.0.0.1, 10.0.0.0/8",
        "METRICS_TOKEN": "metrics",
        "LOG_FORMAT": "text",
        "LOG_LEVEL": "debug",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert Settings.from_environment() == Settings(
        redis_url="rediss://user:secret@redis:6380/1",
        secret_key="key",
        group="eu-1",
        client_token="client",
        worker_token="worker",
        blueprints="shop.orders,blueprints/",
        port=9000,
        job_ttl_seconds=60,
        redis_max_connections=8,
        web_max_waiting=100,
        web_client_share=0.25,
        job_max_retries=0,
        max_transitions_per_job=7,
        handler_timeout_seconds=2.5,
        delivery={"lease_seconds": 15.0, "max_deliveries": 2, "max_dead_letters": 20, "dead_letter_seconds": 3600},
        plan_takeover_seconds=7.5,
        webhook_secret="hook",
        webhook_allow=("127.0.0.1", "10.0.0.0/8"),
        metrics_token="metrics",
        log_format="text",
        log_level="DEBUG",
    )


def test_api_port_goes_before_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "5000")
    assert Settings.from_environment().port == 5000

    monkeypatch.setenv("API_PORT", "9000")
    assert Settings.from_environment().port == 9000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_PORT", "eighty"),
        ("PORT", "70000"),
        ("AVTOMATIKA_GROUP", "g.0"),
        ("JOB_TTL_SECONDS", "0"),
        ("REDIS_MAX_CONNECTIONS", "2"),
        ("WEB_MAX_WAITING", "0"),
        ("WEB_CLIENT_SHARE", "1.5"),
        ("JOB_MAX_RETRIES", "-1"),
        ("HANDLER_TIMEOUT", "nan"),
        ("WORKER_LEASE_SECONDS", "0"),
        ("MAX_DELIVERIES", "1.5"),
        ("MAX_DEAD_LETTERS", "0"),
        ("DEAD_LETTER_TTL_SECONDS", "0"),
        ("LOG_FORMAT", "xml"),
        ("WEBHOOK_ALLOW", "127.0.0.1,localhost"),
        ("LOG_LEVEL", "loud"),
        ("CLIENTS_CONFIG_PATH", "nowhere.toml"),
        ("WORKERS_CONFIG_PATH", "nowhere.toml"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=f"{name}='{value}': .+"):
        Settings.from_environment()


def test_a_bad_redis_url_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "http://user:hush@redis")

    with pytest.raises(SettingsError, match="REDIS_URL: its scheme is 'http'") as caught:
        Settings.from_environment()

    assert "hush" not in str(caught.value)


def test_a_webhook_secret_that_is_no_base64_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "whsec_hush!")

    with pytest.raises(SettingsError, match="WEBHOOK_SECRET: the text after whsec_ must be base64") as caught:
        Settings.from_environment()

    assert "hush" not in str(caught.value)


def test_secrets_are_not_in_the_repr() -> None:
    settings = Settings(
        redis_url="redis://:hush@redis",
        secret_key="hush",
        client_token="hush",
        worker_token="hush",
        webhook_secret="hush",
        metrics_token="hush",
    )

    assert "hush" not in repr(settings)


def test_config_files_are_found_in_the_working_directory_or_where_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "clients.toml").touch()
    (tmp_path / "fleet.toml").touch()
    monkeypatch.setenv("WORKERS_CONFIG_PATH", "fleet.toml")

    settings = Settings.from_environment()

    assert settings.clients_config_path == Path("clients.toml")
    assert settings.workers_config_path == Path("fleet.toml")


def test_a_sentinel_address_must_name_the_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "sentinel://user:hush@a:26379,b:26379/0")

    with pytest.raises(SettingsError, match="REDIS_URL: it must name the primary") as caught:
        Settings.from_environment()

    assert "hush" not in str(caught.value)
