"""Which callables a configuration may name.

Configuration files are shared, and a `_target_` runs code. So it may name callables of safari_bench, and of modules
that the user allows on the command line. Launchers start their workers with the same environment, which holds the list.
"""

import difflib
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from safari_bench.errors import ConfigError

__all__ = ["find", "opened", "refuse_foreign", "refuse_foreign_plugins"]

_VARIABLE = "SAFARI_BENCH_ALLOW"
_OURS = "safari_bench"
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
    modules = (_OURS, *filter(None, os.environ.get(_VARIABLE, "").split(",")), *others)
    return any(name == module or name.startswith(f"{module}.") for module in modules)


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


def refuse_foreign_plugins(hydra: Mapping[str, Any]) -> None:
    """Look at what Hydra itself would call before any job: callbacks, plugins, and the classes of its logging.

    Args:
        hydra: the node of that name, resolved as far as it can be.

    Raises:
        ConfigError: see `refuse_foreign`; also an env_set of this suite's own variables.
    """
    refuse_foreign(hydra.get("callbacks"), "hydra.callbacks")
    for key in ("launcher", "sweeper"):
        refuse_foreign(hydra.get(key), f"hydra.{key}", _PLUGINS)
    search = (hydra.get("sweeper") or {}).get("custom_search_space")
    if search:
        find(search, "hydra.sweeper.custom_search_space")
    for key in ("job_logging", "hydra_logging"):
        _refuse_factories(hydra.get(key), f"hydra.{key}")
    for variable in (hydra.get("job") or {}).get("env_set") or {}:
        if str(variable).startswith(("SAFARI_BENCH", "PYTHON", "LD_")):
            raise ConfigError(f"hydra.job.env_set.{variable}: a configuration must not set this; set it in your shell")


def _refuse_factories(node: Any, path: str) -> None:
    """logging.config calls what "()" and "class" name, and looks up "ext://" names."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            foreign = key == "class" and not str(value).startswith(("logging.", "colorlog."))
            if key == "()" and not str(value).startswith("colorlog."):
                foreign = True
            if foreign:
                raise ConfigError(f"{path}.{key}: got {value}, expected a class of Python's logging")
            _refuse_factories(value, f"{path}.{key}")
