"""Loads users' objects by name: blueprints, and workers as ``module:name``.

A name is a module (``shop.orders``) or a file (``examples/photo/worker.py``); the working directory is searched first.
Errors are SettingsErrors with the module, its file and the line.
"""

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from sysconfig import get_paths
from traceback import extract_tb
from types import ModuleType

from avtomatika.core.blueprint.blueprint import Blueprint

from .errors import BlueprintError, SettingsError

#: The default folder of blueprints.
_DEFAULT = "blueprints/"
#: Paths of code that the user did not write: installed packages, the standard library, this package.
_NOT_USERS = (
    "<",
    str(Path(__file__).resolve().parent),
    *(get_paths()[kind] for kind in ("stdlib", "purelib", "platlib")),
)


def load_blueprints(spec: str, *, may_be_missing: bool = False) -> list[Blueprint]:
    """Return every top-level Blueprint of *spec*, in order.

    *spec* has modules, files and folders (their ``*.py`` without a leading ``_``), separated by commas. Raise
    BlueprintError for two blueprints of one name, SettingsError for none. The default folder may be missing or empty if
    *may_be_missing*; there are no blueprints then.
    """
    if may_be_missing and spec == _DEFAULT and not Path(spec).exists():
        return []
    found: dict[str, tuple[Blueprint, ModuleType]] = {}
    for module in _modules(spec):
        for blueprint in (value for value in vars(module).values() if isinstance(value, Blueprint)):
            first, where = found.setdefault(blueprint.name, (blueprint, module))
            if first is not blueprint:
                raise BlueprintError(
                    f"defined twice: in {where.__file__} and in {module.__file__}", blueprint=blueprint.name
                )
    if not found and not (may_be_missing and spec == _DEFAULT):
        raise SettingsError(f"BLUEPRINTS={spec!r}: none of the modules has a Blueprint at its top level")
    return [blueprint for blueprint, _ in found.values()]


def load_object(spec: str) -> object:
    """Return the object that ``module:name`` or ``path/to/file.py:name`` names."""
    module_name, colon, attribute = spec.rpartition(":")
    if not colon or not module_name or not attribute:
        raise SettingsError(f"{spec!r}: must be module:name, as in mymodule:worker")
    module = _load(module_name)
    if not hasattr(module, attribute):
        raise SettingsError(f"{spec!r}: {module.__file__} has no {attribute!r}")
    return getattr(module, attribute)


def _modules(spec: str) -> Iterator[ModuleType]:
    for part in filter(None, (part.strip() for part in spec.split(","))):
        folder = Path(part)
        if folder.is_dir():
            yield from (_load_file(file) for file in sorted(folder.glob("[!_]*.py")))
        elif part.endswith("/"):
            raise SettingsError(f"BLUEPRINTS={spec!r}: no folder {part!r} in {Path.cwd()}")
        else:
            yield _load(part)


def _load(name: str) -> ModuleType:
    return _load_file(Path(name)) if name.endswith(".py") else _load_module(name)


def _load_module(name: str) -> ModuleType:
    _see_working_directory()
    try:
        return import_module(name)
    except BlueprintError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise SettingsError(f"no module {name!r} in {Path.cwd()} or in the installed packages") from None
        raise _failed_import(name, error) from error


def _load_file(file: Path) -> ModuleType:
    """Import *file* with its path as module name, so that files of one name in two folders do not collide."""
    _see_working_directory()
    path = file.resolve()
    name = f"_loaded{path.with_suffix('')}".replace("/", ".")
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise SettingsError(f"no file {str(file)!r} in {Path.cwd()}")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BlueprintError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise _failed_import(str(file), error) from error
    return module


def _see_working_directory() -> None:
    """Add the working directory to the path: installed scripts lack it, and it has the users' modules."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _failed_import(name: str, error: Exception) -> SettingsError:
    return SettingsError(f"cannot import {name!r}: {_place(error)}{type(error).__name__}: {error}")


def _place(error: Exception) -> str:
    """Return ``file:line: `` of the innermost line of the user's code."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: "
    frames = extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(_NOT_USERS)] or list(frames)
    return f"{theirs[-1].filename}:{theirs[-1].lineno}: "
