"""Types of the root configuration, resolvers, and the check that every key reaches somebody.

Hydra refuses a misspelt key on the command line but merges one from an overlay or a tuned file silently. `check`
therefore binds every `_target_` node to the signature it will be called with, names and types.
"""

import difflib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, get_args

from beartype.door import is_bearable
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from safari_bench.cli import allow, settings
from safari_bench.cli.conf import root
from safari_bench.errors import ConfigError
from safari_bench.ranges import hints_of, outside

__all__ = ["Config", "ConfigError", "check", "check_name", "checked_loggers", "register", "root"]


#: of what becomes the name of a folder
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,99}"
_NAMED = ("prior", "sampler", "task")


class Precision(Enum):
    """fp32, fp64: of images, samplers and network. tf32, bf16, fp16: of the network alone; the rest is fp32."""

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"
    fp16 = "fp16"
    fp64 = "fp64"


class NoiseLaw(Enum):
    """Names of the noise laws."""

    gaussian = "gaussian"
    poisson = "poisson"
    speckle = "speckle"
    salt_pepper = "salt_pepper"
    jpeg = "jpeg"
    quantization = "quantization"
    none = "none"


class SigmaRange(Enum):
    """The scale a noise level is stated on: 0.05 on zero_one is 0.1 on minus_one_one."""

    minus_one_one = "minus_one_one"
    zero_one = "zero_one"


@dataclass
class TaskConfig:
    """A degradation and its noise; which of the last four count depends on the noise law."""

    name: str = MISSING
    operator: dict[str, Any] = field(default_factory=dict)
    noise: NoiseLaw = NoiseLaw.gaussian
    sigma: float = 0.05
    sigma_range: SigmaRange = SigmaRange.minus_one_one
    rate: float = 1.0
    fraction: float = 0.1
    quality: int = 50
    bits: int = 4


@dataclass
class GuidanceConfig:
    """psi's weights, see `fidelity.Perceptual`."""

    _target_: str = "safari_bench.fidelity.Perceptual"
    pixel: float = 0.0
    spatial: float = 0.0
    low: float = 0.0
    high: float = 0.0
    cutoff: float = 0.25
    factor: int = 2


@dataclass
class ComputeConfig:
    """Where and in what portions; nothing here changes a number beyond float rounding."""

    device: str = "auto"
    batch_size: int = 12
    tile: int = 64
    workers: int = 0
    threads: int = 0
    compile: bool = False
    channels_last: bool = False


@dataclass
class Config:
    """The root. Groups without a type here are checked against the signature of their `_target_`."""

    name: str = "default"
    seed: int = 0
    settings: str = "tuned"  # tuned | paper | a file of conf/tuned, see `settings`
    precision: Precision = Precision.fp32
    objective: str = "haarpsi"  # what a sweeper that learns makes best
    output: str = "results"
    dataset: dict[str, Any] = field(default_factory=dict)
    prior: dict[str, Any] = field(default_factory=dict)
    task: TaskConfig = field(default_factory=TaskConfig)
    guidance: GuidanceConfig = field(default_factory=GuidanceConfig)
    sampler: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)  # a node for each logger; csv needs none
    compute: ComputeConfig = field(default_factory=ComputeConfig)


def _at_size(small: Any, large: Any, *, _root_: Any) -> Any:
    """`small` for images under 128 px, `large` from there on."""
    size = _root_.dataset.size
    return small if (min(size) if isinstance(size, ListConfig) else size) < 128 else large


def register() -> None:
    """Make the schema and the resolvers known to Hydra. Safe to call again."""
    ConfigStore.instance().store(name="config_schema", node=Config)
    settings.register()
    OmegaConf.register_new_resolver("root", lambda: str(root()), replace=True)
    OmegaConf.register_new_resolver("at_size", _at_size, replace=True)


def check(cfg: DictConfig) -> dict[str, Any]:
    """Refuse what nobody would read.

    Returns:
        the resolved configuration, with whole numbers made floats where a float is expected: zeta=1 is zeta=1.0.

    Raises:
        ConfigError: a `_target_` that is not allowed, see `allow.find`; a top-level key that does not exist (`+key=1`
            gets past Hydra), a value that is still missing, or an argument of a `_target_` that it does not take or
            whose type is wrong.
    """
    for key in cfg:
        if key not in Config.__dataclass_fields__:
            raise ConfigError(unknown_key(str(key), Config.__dataclass_fields__))
    for path, kind in (("", Config), ("task", TaskConfig), ("guidance", GuidanceConfig), ("compute", ComputeConfig)):
        node = cfg[path] if path else cfg
        if gone := sorted(set(kind.__dataclass_fields__) - set(node or {})):
            raise ConfigError(f"{f'{path}.' if path else ''}{gone[0]} has no value; leave out what takes it away")
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(f"{missing[0]} has no value; give one on the command line: {missing[0]}=...")
    values: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    allow.refuse_foreign(values)
    allow.refuse_interpolations(values)
    if values["settings"] not in (known := (settings.TUNED, settings.PAPER, *settings.files())):
        raise ConfigError(f"settings: got {values['settings']}, expected one of {', '.join(known)}")
    values["sampler"].pop("about", None)  # what tables read from the file; no argument, and not part of the run id
    for group in ("guidance", "dataset", "prior", "sampler", "metrics"):
        values[group] = _checked_node(group, values[group])
    for group in _NAMED:
        check_name(f"{group}.name", values[group].get("name"))
    check_name("name", values["name"])
    check_name("dataset.name", values["dataset"].get("name", "none"))
    values["logger"] = checked_loggers(values["logger"])
    values["task"]["operator"] = _checked_node("task.operator", values["task"]["operator"])
    return dict(values)


def check_name(key: str, name: Any) -> None:
    """Refuse a name that would not be one folder below the output folder.

    Raises:
        ConfigError: it is no word, or has other characters.
    """
    if not isinstance(name, str) or not re.fullmatch(_NAME, name):
        raise ConfigError(
            f"{key}: got {name!r}, expected letters, digits and _ . + = -, not more than 100, the first no sign but _, "
            f"e.g. {key}=mine; it becomes the name of a folder"
        )


def checked_loggers(node: Any) -> dict[str, Any]:
    """The node of every logger but csv, whose files are written in any case.

    Raises:
        ConfigError: see `check`.
    """
    allow.refuse_foreign(node, "logger")
    return {key: _checked_node(f"logger.{key}", value) for key, value in node.items() if value}


def unknown_key(key: str, known: Mapping[str, Any] | list[str], where: str = "") -> str:
    """One sentence: what was typed, what exists, what was probably meant; and where, e.g. sampler=dps."""
    parent, _, last = key.rpartition(".")
    names = sorted(k for k in known if not k.startswith("_"))
    close = difflib.get_close_matches(last, names, n=1)
    hint = f"; did you mean {parent + '.' if parent else ''}{close[0]}?" if close else ""
    owner = f"{parent or 'the configuration'}{f' ({where})' if where else ''}"
    return f"no such key: {key}{hint}\nkeys of {owner}: {', '.join(names) or 'none'}"


def _checked_node(path: str, node: Any) -> dict[str, Any]:
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{path}: got {node!r}, expected values with a _target_; choose an option: {path}=NAME")
    if reserved := sorted(key for key in node if str(key).startswith("_") and key != "_target_"):
        raise ConfigError(f"{path}.{reserved[0]}: configurations have no such key; leave it out")
    target = allow.find(node["_target_"], path)
    function = target.__init__ if inspect.isclass(target) else target
    parameters, hints = inspect.signature(target).parameters, hints_of(function)
    checked = dict(node)
    for key, value in node.items():
        if key in ("_target_", "name"):
            continue
        if key not in parameters:
            raise ConfigError(unknown_key(f"{path}.{key}", dict(parameters)))
        if isinstance(value, Mapping) and "_target_" in value:
            checked[key] = _checked_node(f"{path}.{key}", value)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            checked[key] = [_checked_node(f"{path}.{key}.{i}", item) for i, item in enumerate(value)]
        elif key in hints:
            checked[key] = _typed(f"{path}.{key}", value, hints[key])
    return checked


def _typed(path: str, value: Any, hint: Any) -> Any:
    """The value as an argument of this type: whole numbers are made floats where a float is expected."""
    fits = is_bearable(value, hint) and (not isinstance(value, bool) or _takes_bool(hint))
    if not fits:
        if type(value) is not int or abs(value) > 2**53 or not is_bearable(float(value), hint):
            expected = re.sub(r"(?:typing\.)?Annotated\[(\w+), .*?\)\]", r"\1", inspect.formatannotation(hint))
            raise ConfigError(f"{path}: got {value!r} ({type(value).__name__}), expected {expected}")
        value = float(value)
    if said := outside(value, hint):
        raise ConfigError(f"{path}: got {value!r}, expected {said}")
    return value


def _takes_bool(hint: Any) -> bool:
    return any(part in (bool, Any, object) for part in (hint, *get_args(hint)))
