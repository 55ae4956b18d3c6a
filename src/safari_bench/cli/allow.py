"""Which callables a configuration may name.

Configuration files are shared, and a `_target_` runs code. So it may name what safari_bench offers for configuration:
classes of a few rooms, and the functions `load` of priors. It may name callables of other modules after --allow MODULE,
or if an installed package declares the module as an entry point of the group safari_bench. Launchers start their
workers with the same environment, which holds the list.
"""

import difflib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from safari_bench.errors import ConfigError

__all__ = ["find", "opened", "refuse_foreign", "refuse_foreign_plugins", "refuse_interpolations"]

_VARIABLE = "SAFARI_BENCH_ALLOW"
_OURS = "safari_bench"
#: rooms of safari_bench whose classes configurations are made of; the others start programs and write files
_ROOMS = ("data", "fidelity", "loggers", "metrics", "operators", "priors", "samplers")
#: what Hydra's own options name
_PLUGINS = ("hydra._internal.core_plugins", "hydra_plugins", "optuna.samplers")


@contextmanager
def opened(modules: Sequence[str]) -> Iterator[None]:
    """Let `_target_` name callables of these modules too, here and in workers that are started meanwhile.

    With any module, the current folder is where Python looks for modules first.
    """
    before, path = {key: os.environ.get(key) for key in (_VARIABLE, "PYTHONPATH")}, list(sys.path)
    os.environ[_VARIABLE] = ",".join(modules)
    if modules:
        sys.path.insert(0, os.getcwd())
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.getcwd(), before["PYTHONPATH"])))
    try:
        yield
    finally:
        sys.path[:] = path
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value


def _allowed(name: str, others: Sequence[str] = ()) -> bool:
    modules = (_OURS, *filter(None, os.environ.get(_VARIABLE, "").split(",")), *_installed(), *others)
    return any(name == module or name.startswith(f"{module}.") for module in modules)


@cache
def _installed() -> tuple[str, ...]:
    """Modules that installed packages open."""
    return tuple(entry.module for entry in entry_points(group=_OURS))


def _offered(found: Callable[..., Any], home: str) -> bool:
    """Whether a callable of safari_bench is there to be configured; those of other modules are all."""
    if not home.startswith(f"{_OURS}."):
        return True
    if home.split(".")[1] not in _ROOMS:
        return False
    return not issubclass(found, BaseException) if inspect.isclass(found) else found.__name__ == "load"


def refuse_foreign(node: Any, path: str = "", others: Sequence[str] = ()) -> None:
    """Look at every `_target_` of a configuration, also in lists.

    Args:
        path: the node's place in the configuration, for messages.
        others: further modules that are allowed.

    Raises:
        ConfigError: one names something else than a callable of an allowed module.
    """
    if isinstance(node, Mapping):
        if "_target_" in node:
            find(node["_target_"], path, others)
        for key, value in node.items():
            refuse_foreign(value, f"{path}.{key}".lstrip("."), others)
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            refuse_foreign(value, f"{path}.{number}", others)


def find(name: Any, path: str, others: Sequence[str] = ()) -> Callable[..., Any]:
    """The callable that a `_target_` names.

    Raises:
        ConfigError: it is not of an allowed module, cannot be imported, or does not exist.
    """
    where, module = f"{path}._target_".lstrip("."), str(name).rpartition(".")[0]
    if not isinstance(name, str) or not _allowed(name, others):
        raise _foreign(where, str(name), module)
    try:
        found = pkgutil.resolve_name(name)
    except AttributeError as error:
        raise ConfigError(f"{where}: got {name}, which does not exist ({error}){_meant(name)}") from error
    except Exception as error:  # whatever importing a module of the user's own stumbles on
        remedy = "is the module in the current folder, or installed?" if isinstance(error, ImportError) else "mend it"
        raise ConfigError(f"{where}: {name} cannot be imported: {type(error).__name__}: {error}; {remedy}") from error
    home = str(getattr(found, "__module__", None))
    if not callable(found):
        raise ConfigError(f"{where}: got {name}, expected a class or a function")
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise ConfigError(f"{where}: {name} lacks what its base class asks for: {', '.join(missing)}; write them")
    if not _allowed(home, others):
        raise _foreign(where, f"{name}, which is of {home}", home)
    if not _offered(found, home):
        raise ConfigError(f"{where}: got {name}, expected a class of {_OURS}.{{{','.join(_ROOMS)}}}, or a prior's load")
    return found  # type: ignore[no-any-return]


def _foreign(where: str, got: str, module: str) -> ConfigError:
    return ConfigError(
        f"{where}: got {got}; expected a callable of safari_bench: configuration files are shared, and must not run "
        f"other code unasked. If you trust it, add --allow {module or 'MODULE'}"
    )


def _meant(name: str) -> str:
    owner, _, last = name.rpartition(".")
    try:
        close = difflib.get_close_matches(last, dir(pkgutil.resolve_name(owner)), n=1)
    except Exception:  # a hint, no more
        return ""
    return f"; did you mean {owner}.{close[0]}?" if close else ""


def refuse_interpolations(node: Any, path: str = "") -> None:
    """Look for text that would be looked up again when objects are built, though a configuration is resolved by then.

    Raises:
        ConfigError: a value, or a key, holds "${".
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            refuse_interpolations(str(key), path)
            refuse_interpolations(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            refuse_interpolations(value, f"{path}.{number}")
    elif isinstance(node, str) and "${" in node:
        raise ConfigError(
            f"{path}: got {node!r}, expected a value without ${{; refer to other keys without a backslash"
        )


def refuse_foreign_plugins(hydra: Mapping[str, Any], shipped: Mapping[str, Any], typed: Sequence[str]) -> None:
    """Look at what Hydra itself would call, set or write before any job.

    Args:
        hydra: the node of that name, with callbacks, launcher and sweeper resolved.
        shipped: the same of a configuration that nobody changed.
        typed: the command line's overrides.

    Raises:
        ConfigError: see `refuse_foreign`; something else than launcher, sweeper and callbacks is changed; or a file
            writes lines of a cluster's job script.
    """
    if not isinstance(hydra.get("callbacks") or {}, Mapping):
        raise ConfigError(f"hydra.callbacks: got {hydra['callbacks']!r}, expected a callback by its name")
    refuse_foreign(hydra.get("callbacks"), "hydra.callbacks")
    for key in ("launcher", "sweeper"):
        refuse_foreign(hydra.get(key), f"hydra.{key}", _PLUGINS)
    search = (hydra.get("sweeper") or {}).get("custom_search_space")
    if search:
        find(search, "hydra.sweeper.custom_search_space")
    for key in (hydra.get("sweeper") or {}).get("params") or {}:
        if str(key).lstrip("+~").startswith("hydra"):
            raise ConfigError(f"hydra.sweeper.params.{key}: a sweep must not vary Hydra's own settings")
    verbose = hydra.get("verbose")
    if not isinstance(verbose, bool | str) and not all(isinstance(name, str) for name in verbose or [None]):
        raise ConfigError(f"hydra.verbose: got {verbose!r}, expected true, false, or names of loggers")
    for key in _FIXED:
        if (got := _at(hydra, key)) != _at(shipped, key):
            raise ConfigError(
                f"hydra.{key}: got {got}; a configuration must not change this. Set environment variables in your "
                "shell, and the run folder with output=FOLDER and name=NAME"
            )
    _refuse_scripts(hydra.get("launcher") or {}, typed)


#: of Hydra's node: what sets the environment, what loggers call, and where files are written
_FIXED = (
    *("job_logging", "hydra_logging", "env", "run", "sweep", "output_subdir"),
    *("job.name", "job.chdir", "job.env_set", "job.env_copy"),
)
#: of a launcher: what becomes lines of the script that a cluster runs
_SCRIPTS = ("setup", "additional_parameters", "srun_args")


def _at(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _refuse_scripts(launcher: Mapping[str, Any], typed: Sequence[str]) -> None:
    for key, value in launcher.items():
        where = f"hydra.launcher.{key}"
        if key in _SCRIPTS and value and not any(word.lstrip("+").startswith(where) for word in typed):
            raise ConfigError(f"{where}: got {value}; a file must not set this, for it runs commands; type it")
        if isinstance(value, str) and "\n" in value:
            raise ConfigError(f"{where}: got {value!r}, expected one line")
