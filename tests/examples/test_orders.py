"""The example ``orders``."""

from __future__ import annotations

from pathlib import Path

import pytest

from avtomatika.testing import run

from ..support.examples import blueprints_of, run_example, worker_of


def test_what_is_paid_is_shipped_and_what_is_sold_out_is_released(tmp_path: Path) -> None:
    said = run_example("orders", tmp_path / "copy")

    reserved = [each.name for each in (tmp_path / "copy" / "reserved").rglob("*-*") if each.is_file()]
    stock = sorted(each.name for each in (tmp_path / "copy" / "stock").iterdir())
    assert sorted(reserved + stock) == ["chair-1", "lamp-1", "lamp-2", "table-1"]
    assert f"in stock: {stock}" in said


@pytest.fixture
def stock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stock").mkdir()
    (tmp_path / "stock" / "lamp-1").touch()
    return tmp_path / "stock"


def test_an_order_that_is_not_paid_releases_its_items_after_two_weeks(stock: Path) -> None:
    order = {"customer": "Ada", "items": ["lamp"]}

    job = run(blueprints_of("orders")["order"], order, skills=worker_of("orders"), signals={"paid": {"amount": 1}})

    assert job.states == ("reserving", "unpaid", "counting", "unpaid", "releasing", "refused")
    assert job.result["reason"] == "SIGNAL_TIMEOUT"
    assert job.seconds >= 14 * 24 * 3600
    assert [each.name for each in stock.iterdir()] == ["lamp-1"]


def test_items_are_reserved_once_when_the_task_runs_twice(stock: Path) -> None:
    (stock / "lamp-2").touch()
    reserve = worker_of("orders").skills["reserve"].function

    reserve(["lamp"], "order-1")
    reserve(["lamp"], "order-1")

    assert len(list(stock.iterdir())) == 1
