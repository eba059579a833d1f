from __future__ import annotations

import json
import os
from unittest import mock

import pytest

from avtomatika.addresses import Mode
from avtomatika.errors import SettingsError
from avtomatika.worker.config import WorkerConfig


def read(**environ: str) -> WorkerConfig:
    with mock.patch.dict(os.environ, environ, clear=True):
        return WorkerConfig.from_environment()


def urls(config: WorkerConfig) -> list[str]:
    return [address.url for address in config.addresses]


def test_an_empty_environment_means_a_local_web_process() -> None:
    config = read()

    assert urls(config) == ["http://localhost:8080"]
    assert config.mode is Mode.FAILOVER
    assert config.concurrency == 4 * (os.cpu_count() or 1)
    assert config.pool == "process"
    assert config.drain_timeout_seconds == 25
    assert config.delivery == {}
    assert config.token is None


# ---------------------------------------------------------------- who


def test_the_id_is_as_given() -> None:
    config = read(WORKER_ID="worker-video_1")

    assert config.worker_id == "worker-video_1"


def test_an_id_is_made_up_of_host_name_and_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "build.host.example")

    first, second = read(), read()

    assert first.worker_id.startswith("build-host-example-")
    assert first.worker_id != second.worker_id


@pytest.mark.parametrize("worker_id", ["worker video", "a.b", "x" * 65, "@w"])
def test_an_id_that_is_invalid_in_a_queue_name_is_rejected(worker_id: str) -> None:
    with pytest.raises(SettingsError, match=r"WORKER_ID=.*: must be 1 to 64 letters"):
        read(WORKER_ID=worker_id)


def test_the_individual_token_takes_precedence() -> None:
    assert read(AVTOMATIKA_WORKER_TOKEN="mine", WORKER_TOKEN="ours").token == "mine"
    assert read(WORKER_TOKEN="ours").token == "ours"


# ---------------------------------------------------------------- where


def test_the_list_takes_precedence_over_the_address_and_that_over_the_broker() -> None:
    listed = json.dumps([{"url": "http://a:8080"}, {"url": "redis://b", "weight": 3}])

    config = read(ORCHESTRATORS_CONFIG=listed, ORCHESTRATOR_URL="http://c", REDIS_URL="redis://d")

    assert urls(config) == ["http://a:8080", "redis://b"]
    assert [address.weight for address in config.addresses] == [1, 3]
    assert urls(read(ORCHESTRATOR_URL="http://c", REDIS_URL="redis://d")) == ["http://c"]
    assert urls(read(REDIS_URL="redis://d")) == ["redis://d"]


def test_a_blank_variable_counts_as_not_set() -> None:
    assert urls(read(ORCHESTRATORS_CONFIG=" ", ORCHESTRATOR_URL="", REDIS_URL="redis://d")) == ["redis://d"]


def test_the_list_may_span_lines() -> None:
    config = read(ORCHESTRATORS_CONFIG='[\n    {"url": "http://main:8080"},\n    {"url": "http://backup:8080"}\n]')

    assert urls(config) == ["http://main:8080", "http://backup:8080"]


@pytest.mark.parametrize("mode", ["ROUND_ROBIN", "round_robin", " Round_Robin "])
def test_the_mode_is_read_in_any_case(mode: str) -> None:
    assert read(MULTI_ORCHESTRATOR_MODE=mode).mode is Mode.ROUND_ROBIN


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://a", "is not JSON"),
        ("{}", "must be a list with at least one entry"),
        ("[]", "must be a list with at least one entry"),
        ('["http://a"]', 'every entry must be an object with a text "url"'),
        ('[{"url": "http://a", "wieght": 2}]', "but no 'wieght'"),
        ('[{"url": "http://a", "weight": 0}]', '"weight" must be a whole number from 1, not 0'),
        ('[{"url": "ftp://a"}]', "the scheme of a URL must be one of http, .* not 'ftp'"),
        ('[{"url": "http://"}]', "a URL must name a host"),
        ('[{"url": "sentinel://a:26379,b/0"}]', "must name the primary, as in .*master_name=mymaster"),
    ],
)
def test_an_invalid_list_is_rejected_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=f"^ORCHESTRATORS_CONFIG=.*{reason}"):
        read(ORCHESTRATORS_CONFIG=text)


# ---------------------------------------------------------------- how


def test_numbers_are_parsed() -> None:
    config = read(WORKER_CONCURRENCY="3", WORKER_DRAIN_TIMEOUT="0", WORKER_LEASE_SECONDS="2.5", MAX_DELIVERIES="7")

    assert (config.concurrency, config.drain_timeout_seconds) == (3, 0)
    assert config.delivery == {"lease_seconds": 2.5, "max_deliveries": 7}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER_CONCURRENCY", "0"),
        ("WORKER_CONCURRENCY", "many"),
        ("WORKER_CONCURRENCY", "1.5"),
        ("WORKER_DRAIN_TIMEOUT", "-1"),
        ("WORKER_DRAIN_TIMEOUT", "nan"),
        ("WORKER_LEASE_SECONDS", "0"),
        ("WORKER_POOL", "green"),
        ("WORKER_TIME_LIMIT", "0"),
        ("WORKER_KILL_AFTER", "-1"),
        ("WORKER_MAX_TASKS", "0"),
        ("WORKER_HEALTH_PORT", "http"),
        ("WORKER_HEALTH_PORT", "65536"),
        ("WORKER_MAX_MEMORY_MB", "much"),
        ("MULTI_ORCHESTRATOR_MODE", "RANDOM"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "sentinel://a:26379/0"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}='{value}': "):
        read(**{name: value})


# ---------------------------------------------------------------- secrets


def test_no_secret_is_shown() -> None:
    config = read(WORKER_TOKEN="sesame", REDIS_URL="redis://user:sesame@broker:6379/0?password=sesame")

    assert "sesame" not in repr(config)
    assert str(config.addresses[0]) == "redis://broker:6379/0"


def test_a_rejected_url_does_not_show_its_password() -> None:
    with pytest.raises(SettingsError) as caught:
        read(REDIS_URL="ftp://user:sesame@broker")

    assert "sesame" not in str(caught.value)


# ---------------------------------------------------------------- what it has


def test_resources_and_costs_are_read_from_json() -> None:
    config = read(
        WORKER_RESOURCES='{"ram_gb": 32, "devices": [{"type": "gpu", "memory_gb": 24}]}', WORKER_COSTS='{"encode": 0.5}'
    )

    assert config.resources == {"ram_gb": 32, "devices": [{"type": "gpu", "memory_gb": 24}]}
    assert config.costs == {"encode": 0.5}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("WORKER_RESOURCES", "many", "is not JSON"),
        ("WORKER_RESOURCES", "[]", "must be an object"),
        ("WORKER_RESOURCES", '{"ram_gb": null}', "'ram_gb' is None"),
        ("WORKER_RESOURCES", '{"devices": {"type": "gpu"}}', "must be a list"),
        ("WORKER_COSTS", '{"encode": -1}', "the cost of 'encode' is -1"),
        ("WORKER_COSTS", '{"encode": "dear"}', "must be a number of at least 0"),
    ],
)
def test_invalid_resources_and_costs_are_rejected(name: str, text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as refused:
        read(**{name: text})

    assert name in str(refused.value)
