"""The user's own code: importing a module, and calling a function named "module:function"."""

import difflib
import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


class FactoryError(Exception):
    """The user's function could not be found, or failed."""


def import_from(root: Path, module_name: str) -> ModuleType:
    """The user's module, which lies in ``root`` or is installed.

    Raises:
        FactoryError: it does not exist, or its own code fails when imported.
    """
    with _importable(root):
        try:
            return importlib.import_module(module_name)
        # Importing runs the user's own code, which may raise anything: an error of theirs, not a
        # bug of ours. It is told with its name and chained; KeyboardInterrupt and SystemExit pass.
        except Exception as error:
            raise FactoryError(
                f"cannot import {module_name!r} (searched {root} and the installed packages): "
                f"{_shown(error)}"
            ) from error


def call_factory(spec: str, kwargs: Mapping[str, object], *, root: Path) -> object:
    """What the function ``spec`` ("module:function") returns; its module may lie in ``root``.

    Raises:
        FactoryError: the module cannot be imported, has no such function, or the call fails. The
            message shows the user's own error; its traceback is in ``__cause__``.
    """
    module_name, _, function_name = spec.partition(":")
    module = import_from(root, module_name)
    with _importable(root):
        function = getattr(module, function_name, None)
        if not callable(function):
            raise FactoryError(_no_function(spec, sorted(vars(module))))
        try:
            return function(**kwargs)
        # The function is the user's own code: as above.
        except Exception as error:
            arguments = ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
            raise FactoryError(f"{spec}({arguments}) failed: {_shown(error)}") from error


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let ``folder`` come first in the import path, as it does for a script that lies in it."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _no_function(spec: str, names: list[str]) -> str:
    module_name, _, function_name = spec.partition(":")
    close = difflib.get_close_matches(function_name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {module_name}:{close[0]}?" if close else ""
    return f"the factory {spec!r} names no function: {module_name} has no {function_name!r}{hint}"


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
