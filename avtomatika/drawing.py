"""Renders DOT as SVG or PNG with Graphviz's ``dot``, or with ``graphviz-pure`` of the Python environment."""

import shutil
import subprocess
import sys
from pathlib import Path

from .errors import AvtomatikaError, SettingsError, UnavailableError

#: Time limit of the renderer.
DRAWING_TIMEOUT_SECONDS = 5


def draw(source: str, form: str) -> bytes:
    """Render the DOT *source* as ``svg`` or ``png``. Raise SettingsError if no renderer is installed."""
    command = [_program(), f"-T{form}"]
    try:
        done = subprocess.run(
            command, input=source.encode(), capture_output=True, timeout=DRAWING_TIMEOUT_SECONDS, check=True
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"drawing took longer than {DRAWING_TIMEOUT_SECONDS} s: ask for DOT instead") from None
    except subprocess.CalledProcessError as error:
        raise AvtomatikaError(f"{command[0]} failed: {error.stderr.decode(errors='replace')}") from error
    return done.stdout


def _program() -> str:
    beside = Path(sys.executable).with_name("graphviz-pure")
    program = shutil.which("dot") or (str(beside) if beside.is_file() else None)
    if program is None:
        raise SettingsError(
            "cannot render graphs: install Graphviz so that 'dot' is on PATH, or graphviz-pure with pip;"
            " DOT itself needs neither"
        )
    return program
