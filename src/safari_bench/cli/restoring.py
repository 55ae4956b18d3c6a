"""The verb `restore`: words -> pictures and settings -> files beside each picture."""

import glob
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from safari_bench.cli.compose import device_of, suite_of
from safari_bench.cli.library import Result, quoted, restore
from safari_bench.cli.words import wide
from safari_bench.data import encode_png, from_uint8, open_picture, to_uint8
from safari_bench.data.listing import EXTENSIONS, find_images
from safari_bench.errors import ConfigError, DataError, LedgerError, SafariBenchError
from safari_bench.ledger import make_folder, write_atomic
from safari_bench.reports.restored import page

__all__ = ["restore_all"]

#: keys of this verb alone, with what they are without being said
_OWN = {
    "mask": "",
    "kernel": "",
    "sigma": "auto",
    "draws": "1",
    "out": "",
    "overwrite": "false",
    "reference": "",
    "prior.windows": "auto",
    "page": "true",
}
_DEFAULT = "diffpir"
_MARK = ".restored"


@dataclass(frozen=True)
class _Asked:
    """What a command line asks for."""

    pictures: list[Path]
    own: Mapping[str, str]
    task: str
    samplers: list[str]
    prior: str
    seed: int
    keys: list[str]  # for Hydra
    command: str
    names: Mapping[Path, str] = field(default_factory=dict)  # picture -> path below out=

    def target(self, picture: Path, sampler: str) -> Path:
        """The picture to write."""
        middle = f".{sampler}" if len(self.samplers) > 1 else ""
        name = f"{self.names[picture]}{_MARK}{middle}.png"
        return (Path(self.own["out"]) if self.own["out"] else picture.parent) / name

    def flag(self, key: str) -> bool:
        """The value of a key that is true or false."""
        value = self.own[key].lower()
        if value not in ("true", "false"):
            raise ConfigError(f"{key}: got {self.own[key]}, expected true or false")
        return value == "true"


def restore_all(args: Namespace) -> int:
    """Restore every picture with every method. What fails stops nothing else.

    Returns:
        0, or 1 if a picture could not be restored.

    Raises:
        ConfigError, DataError: the command names no task, no picture, or a file that cannot be read. Nothing was done.
    """
    pictures = [word for word in args.words if "=" not in word or Path(word).exists()]
    keys = [word for word in args.words if word not in pictures]
    with wide(Namespace(keys=keys, config_dir=args.config_dir, allow=args.allow)) as words:
        asked = _asked(pictures, words, shlex.join(["safari-bench", "restore", *args.words]))
        failed, last = 0, None
        for picture in asked.pictures:
            for sampler in asked.samplers:
                try:
                    _one(asked, picture, sampler)
                except (SafariBenchError, OSError, MemoryError, RuntimeError) as error:
                    failed, last = failed + 1, error
                    if len(asked.pictures) * len(asked.samplers) == 1 and isinstance(error, SafariBenchError):
                        raise
                    print(f"error: {picture}, {sampler}: {error}", file=sys.stderr)
    if failed and failed == len(asked.pictures) * len(asked.samplers) and isinstance(last, SafariBenchError):
        return last.exit_code
    return int(failed > 0)


def _asked(pictures: Sequence[str], words: Sequence[str], command: str) -> _Asked:
    own, given, rest = dict(_OWN), {}, []
    for word in words:
        key, _, value = word.partition("=")
        if key in own:
            own[key] = value
        elif key in ("task", "sampler", "prior", "seed"):
            given[key] = value
        else:
            rest.append(word)
    if "task" not in given:
        raise ConfigError(
            "restore: no task; say what is wrong with the picture: task=inpaint mask=FILE, task=sr_x4, task=deblur "
            "kernel=FILE, task=deblur_gaussian, task=denoising, task=jpeg or task=colorization"
        )
    for key, task, path in (("mask", "inpaint", "task.operator.mask"), ("kernel", "deblur", "task.operator.kernel")):
        needed, held = given["task"] == task, own[key] or any(word.startswith(f"{path}=") for word in rest)
        if needed and not held:
            raise ConfigError(f"task={task} needs {key}=FILE, a picture of the {key}")
        if own[key] and not needed:
            raise ConfigError(f"{key}={own[key]} is for task={task}, got task={given['task']}")
        if own[key]:
            rest.append(f"{path}={quoted(own[key])}")
    seed = _whole("seed", given.get("seed", "0"), 0)
    _whole("draws", own["draws"], 1)
    found, names = _pictures(pictures)
    samplers = given.get("sampler", _DEFAULT).split(",")
    asked = _Asked(found, own, given["task"], samplers, given.get("prior", "photos64"), seed, rest, command, names)
    targets = [asked.target(picture, samplers[0]) for picture in found]
    twice = sorted({str(t) for t in targets if targets.count(t) > 1})
    if twice:
        raise ConfigError(
            f"two pictures would become {twice[0]}; rename one, or restore them into two folders with out="
        )
    _ = asked.flag("overwrite"), asked.flag("page"), own["reference"] and open_picture(own["reference"])
    for folder in dict.fromkeys(target.parent for target in targets):
        make_folder(folder)
        if not os.access(folder, os.W_OK):
            raise LedgerError(f"cannot write into {folder}: make it writable, or say out=FOLDER; nothing was restored")
    return asked


def _whole(key: str, text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise ConfigError(f"{key}: got {text}, expected a whole number of at least {least}")
    return int(text)


def _pictures(words: Sequence[str]) -> tuple[list[Path], dict[Path, str]]:
    """The pictures that words name, in order, and what each is called below a folder of results."""
    found: dict[Path, str] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            found |= {path / p: str(Path(p).with_suffix("")) for p in find_images(path).values() if _MARK not in p}
        elif path.exists() or not glob.has_magic(word):
            found[path] = path.stem
        else:
            matches = [Path(m) for m in sorted(glob.glob(word, recursive=True)) if _MARK not in Path(m).name]
            matches = [m for m in matches if m.suffix.lower() in EXTENSIONS]
            if not matches:
                raise DataError(f"{word}: no picture matches; expected names ending in {' '.join(EXTENSIONS)}")
            found |= {m: m.stem for m in matches}
    if not found:
        raise ConfigError("restore: no picture; name files, a folder, or a pattern in quotes, e.g. 'scans/*.jpg'")
    return list(found), found


def _one(asked: _Asked, picture: Path, sampler: str) -> None:
    """Restore one picture with one method. The restored picture is written last: where it is, the rest is."""
    target = asked.target(picture, sampler)
    if target.exists() and not asked.flag("overwrite"):
        print(f"{target} is there already and is kept; overwrite=true makes it anew", file=sys.stderr)
        return
    keys = list(asked.keys)
    opened = open_picture(picture)
    notes = list(opened.said)
    if asked.task == "jpeg" and not any(word.startswith("task.quality=") for word in keys):
        if opened.quality is None:
            notes.append("not a JPEG file, so quality 20 is taken; task.quality=N gives another")
        else:
            keys.append(f"task.quality={opened.quality}")
            notes.append(f"JPEG quality {opened.quality}, as the file's table says")
    for note in notes:
        print(f"{picture}: {note}", file=sys.stderr)
    result = restore(
        picture,
        asked.task,
        sampler,
        asked.prior,
        sigma=_sigma(asked.own["sigma"]),
        draws=int(asked.own["draws"]),
        seed=asked.seed,
        keys=keys,
        windows=asked.own["prior.windows"],
        ids=[picture.name],
        say=lambda line: print(line, file=sys.stderr),
    )
    scores, wrong = {}, None
    if asked.own["reference"]:
        try:
            scores = _scores(asked.own["reference"], result)
        except (DataError, ValueError) as error:  # the restored picture is kept
            wrong = error if isinstance(error, DataError) else DataError(f"reference: {error}")
    files = _files(asked, picture, opened.x, sampler, result, notes, scores)
    make_folder(target.parent)
    for name, data in files.items():
        write_atomic(target.with_suffix("").with_name(target.stem + name), data)
    print(f"{target}: {sampler}, {result.nfe} calls of the prior, {result.seconds:.0f} s")
    for name, value in scores.items():
        print(f"  {name} {value:.4g}")
    if wrong:
        raise wrong


def _sigma(text: str) -> Any:
    try:
        return text if text == "auto" else float(text)
    except ValueError as error:
        raise ConfigError(f"sigma: got {text}, expected auto or a number on the [-1, 1] scale") from error


def _files(
    asked: _Asked,
    picture: Path,
    y: Tensor,
    sampler: str,
    result: Result,
    notes: Sequence[str],
    scores: Mapping[str, float],
) -> dict[str, bytes]:
    """End of the name -> contents, the restored picture last."""
    pictures = {"": _png(result.image)}
    spread = to_uint8((result.spread.mean(-1, keepdim=True) / max(float(result.spread.max()), 1e-12)) * 2 - 1)
    if len(result.draws) > 1:
        pictures |= {".mean": _png(result.mean), ".spread": encode_png(spread.permute(2, 0, 1).contiguous())}
        if not result.spread.any():
            print(f"{sampler} draws nothing at random: its draws are all the same", file=sys.stderr)
    files = {f"{end}.png": data for end, data in pictures.items() if end}
    if asked.flag("page"):
        facts = {
            "task": asked.task,
            "sampler": sampler,
            "prior": asked.prior,
            "noise": f"sigma = {result.sigma:.4f} on [-1, 1]",
            "seed": str(asked.seed),
            "calls of the prior": str(result.nfe),
            "time": f"{result.seconds:.0f} s",
            "settings": ", ".join(f"{k}={v}" for k, v in result.settings["sampler"].items() if not k.startswith("_")),
        }
        shown = page(
            title=picture.name,
            before=_png(y.permute(1, 2, 0)),
            pictures=pictures,
            size=(result.image.shape[1], result.image.shape[0]),
            facts=facts,
            scores=scores,
            notes=[*notes, *result.said],
            command=asked.command,
            spread_white=float(result.spread.max()) * 127.5,
        )
        files[".html"] = shown.encode()
    return {**files, ".png": pictures[""]}


def _png(x: Tensor) -> bytes:
    """Of a picture (h, w, c)."""
    return encode_png(to_uint8(x.permute(2, 0, 1).contiguous()))


@torch.no_grad()
def _scores(reference: str, result: Result) -> dict[str, float]:
    clean = open_picture(reference).x[None]
    x = from_uint8(to_uint8(result.image.permute(2, 0, 1).contiguous()))[None]
    if clean.shape != x.shape:
        (h, w), (rows, columns) = clean.shape[-2:], x.shape[-2:]
        raise DataError(f"reference {reference}: {w} x {h}, expected {columns} x {rows} as the restored picture")
    suite = suite_of(result.settings["metrics"])
    device = device_of(result.settings["compute"]["device"])
    found = suite(x.to(device), from_uint8(to_uint8(clean)).to(device))
    return {name: float(value) for name, value in found.items() if name not in suite.absent}
