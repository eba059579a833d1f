"""``python -m avtomatika.cli``: the same as ``avtomatika``, for an interpreter whose scripts are not on the path."""

from __future__ import annotations

from .main import main

main()
