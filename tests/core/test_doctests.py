"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import avtomatika.core

MODULES = [module.name for module in pkgutil.walk_packages(avtomatika.core.__path__, "avtomatika.core.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_work(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
