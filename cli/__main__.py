"""``python -m avtomatika.cli``: the ``avtomatika`` command for an environment whose scripts are not on the path."""

from .main import main

main()
