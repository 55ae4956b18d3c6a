"""The suite as a library: `load_prior`, `restore`, `read_results`. The verb `restore` calls the same function."""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from hydra.utils import instantiate
from torch import Tensor

from safari_bench.cli import conf, settings
from safari_bench.cli.compose import device_of, limit, prior_of, refused, sampler_of
from safari_bench.cli.explain import explained
from safari_bench.cli.grids import configurations
from safari_bench.cli.measured import laid_out, measurement, noise_level
from safari_bench.cli.precision import set_layout, set_precision
from safari_bench.cli.schema import check
from safari_bench.diffusion import Denoiser
from safari_bench.errors import ConfigError, SafariBenchError
from safari_bench.ledger import find_run
from safari_bench.operators import Operator
from safari_bench.priors.windows import Windows
from safari_bench.rng import Streams
from safari_bench.runner import Build, Restoration
from safari_bench.samplers import Sampler

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result", "load_prior", "quoted", "read_results", "restore"]


@dataclass(frozen=True)
class Result:
    """A restored picture, or batch.

    Pictures are float32 tensors in [-1, 1]: (h, w, c) if y was a path, a PIL image or an array, (c, h, w) if it was a
    tensor (c', h', w'), and (b, c, h, w) if it was a batch of tensors.

    Attributes:
        draws: every draw, (draws, ...).
        sigma: standard deviation of the noise that was assumed, on [-1, 1].
        nfe: calls of the prior for one draw; each call sees all windows.
        seconds: wall time.
        settings: the resolved configuration.
        said: what a person should know: what was done to the file, windows, sizes.
    """

    draws: Tensor
    sigma: float
    nfe: int
    seconds: float
    settings: dict[str, Any]
    said: tuple[str, ...]

    @property
    def image(self) -> Tensor:
        """The first draw."""
        return self.draws[0]

    @property
    def mean(self) -> Tensor:
        """The mean of the draws: an estimate of the posterior mean."""
        return self.draws.mean(0)

    @property
    def spread(self) -> Tensor:
        """The standard deviation of the draws at every pixel; 0 for one draw."""
        return self.draws.std(0, unbiased=len(self.draws) > 1)


def load_prior(prior: str | Path, keys: Sequence[str] = ()) -> Denoiser:
    """A diffusion prior by its name, such as photos64, or from a folder in diffusers' layout.

    Args:
        prior: a name of `safari-bench --help`, a folder, or a repository of the Hugging Face Hub.
        keys: further settings, e.g. ["prior.sanity_check=false"].

    Raises:
        ConfigError, PriorError: there is no such prior, or its files are not as they should be.
    """
    return _loaded(_values([*_prior_words(prior), *keys]))


def restore(
    y: Any,
    operator: str | Build,
    sampler: str | Sampler = "diffpir",
    prior: str | Path | Denoiser = "photos64",
    sigma: float | Literal["auto"] = "auto",
    draws: int = 1,
    *,
    seed: int = 0,
    keys: Sequence[str] = (),
    windows: int | str = "auto",
    ids: Sequence[str] | None = None,
    say: Callable[[str], None] | None = None,
) -> Result:
    """Restore a picture of which only the measurement y is there.

    Args:
        y: a path, a PIL image, an array (h, w) or (h, w, c), or a tensor (c, h, w), (b, c, h, w) or, for operators
            that do not measure pictures, (b, *m). uint8 is 0 to 255, floats are on [-1, 1].
        operator: the name of a task, such as sr_x4; or what makes an operator: `operators.Inpainting(mask)`,
            `operators.Blur(kernel)`, `operators.Linear(A, At)`, `functools.partial(operators.GaussianBlur, ...)`.
        sampler: a name of `safari-bench --help`, or a Sampler.
        prior: as `load_prior` takes it, or what that returned, or a Denoiser of your own.
        sigma: standard deviation of the noise in y on [-1, 1]; auto estimates it for Gaussian noise, and follows from
            the task for other noise laws.
        draws: how many; of a sampler that draws nothing they are the same.
        seed: of all random numbers.
        keys: further settings as on the command line, e.g. ["sampler.steps=20", "task.operator.std=2"].
        windows: auto restores pictures that are larger than those the prior was trained on in overlapping windows of
            that size; off gives the network the whole picture; a number is another size of windows.
        ids: one name per image; they name the random streams.
        say: is told what a person should know before the work starts, and gets a progress bar on stderr.

    Raises:
        ConfigError, DataError, PriorError: something is not as it should be; the message says what.
        Unsupported: sampler and operator do not go together.
        NotFinite: the sampler diverged.
    """
    measured, layout, said, bits = measurement(y)
    if draws < 1:
        raise ConfigError(f"draws: got {draws}, expected at least 1")
    words = [f"seed={seed}", *keys]
    words += [f"sampler={sampler}"] if isinstance(sampler, str) else []
    denoiser = None if isinstance(prior, str | Path) else prior
    name = getattr(denoiser, "name", None)
    words += _prior_words(prior) if isinstance(prior, str | Path) else [f"prior={name or 'gaussian'}"]
    words += ["settings=paper"] if denoiser is not None and name is None else []
    build, values = _operator(operator, words, measured)
    denoiser = denoiser or _loaded(values)
    method = sampler if isinstance(sampler, Sampler) else sampler_of(values["sampler"])
    kind = build.func if isinstance(build, partial) else build
    if isinstance(kind, type) and issubclass(kind, Operator) and layout == "hwc":
        measured = kind.of_picture(measured)
    task = values["task"] if isinstance(operator, str) else None
    level = noise_level(sigma, task, measured, bits)
    compute, device = values["compute"], device_of(values["compute"]["device"])
    limit(compute)
    set_precision(denoiser, values["precision"], device)
    set_layout(denoiser, compute)
    shape = _image_shape(build, measured)
    side, stride, least, lines = _window(
        denoiser if method.uses_prior else None, values["prior"]["name"], windows, shape
    )
    said += lines
    said += (settings.said(values),) if isinstance(sampler, str) else ()
    if sigma == "auto":
        said += (f"noise: sigma={level:.4f} on [-1, 1]",)
    for line in said if say else ():
        say(line)  # type: ignore[misc]
    work = Restoration(
        build=build,
        sampler=method,
        denoiser=lambda streams: _windowed(denoiser, streams, side, compute["tile"]),
        sigma_y=level,
        seed=values["seed"],
        multiple=stride,
        least=least,
        batch_size=max(1, min(compute["batch_size"] or 12, 12 * 256**2 // max(math.prod(shape[1:]), 1))),
        device=device,
        dtype=torch.float64 if values["precision"] == "fp64" else torch.float32,
        label=f"{ids[0] if ids else 'restore'} {values['sampler']['name']}" if say else None,
    )
    names = list(ids) if ids else [str(i) for i in range(len(measured))]
    begun = time.perf_counter()
    try:
        found = work(measured, names, draws)
    except SafariBenchError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"operator: {error}") from error
    return Result(laid_out(found.x, layout), level, found.nfe, time.perf_counter() - begun, values, said)


def read_results(run: str | Path) -> "pd.DataFrame":
    """The rows of a run, one per image and draw of every cell: scores, cost, status, and the table line they are in.

    Args:
        run: a run folder, or the name of one in results/.

    Raises:
        TableError: it holds no cell.
    """
    from safari_bench.reports import report
    from safari_bench.reports.statistics import per_image

    return per_image(report([find_run(str(run))]).lines)


def quoted(value: object) -> str:
    """A value in Hydra's grammar of overrides, whatever characters it holds."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _values(words: Sequence[str], size: Sequence[int] = (64, 64)) -> dict[str, Any]:
    """The checked configuration of words, for images of a size."""
    h, w = size
    words = ["dataset=folder", "dataset.root=.", f"dataset.size=[{h},{w}]", *words]
    with explained(words):
        found = list(configurations(words))
    if len(found) > 1:
        raise ConfigError(f"got {len(found)} combinations of settings, expected one; restore sweeps over sampler alone")
    return check(found[0])


def _prior_words(prior: str | Path) -> list[str]:
    if str(prior) in conf.options("prior"):
        return [f"prior={prior}"]
    return ["prior=diffusers", f"prior.checkpoint={quoted(prior)}"]


def _loaded(values: dict[str, Any]) -> Denoiser:
    name, prior = prior_of(json.dumps(values["prior"]))
    prior.name = name  # by which settings are found
    return prior  # type: ignore[no-any-return]


def _operator(operator: str | Build, words: list[str], y: Tensor) -> tuple[Build, dict[str, Any]]:
    """What makes the operator, and the configuration at the size of the images."""
    if not isinstance(operator, str):
        task = _task_of(operator)
        words = [*words, f"task={task or 'denoising'}", *([] if task else ["settings=paper"])]
        return operator, _values(words, _image_shape(operator, y)[1:])
    words = [f"task={operator}", *words]
    size = tuple(y.shape[-2:])
    while True:  # an option such as the taps of a blur follows the image's size, which follows from y's
        values = _values(words, size)
        build = instantiate(values["task"]["operator"], _partial_=True, _convert_="all")
        found = _image_shape(build, y)[1:]
        if found == size:
            return build, values
        size = found


def _task_of(build: Build) -> str | None:
    """The task that has this operator, or one like it, whose tuned settings fit."""
    from omegaconf import OmegaConf

    kind = build.func if isinstance(build, partial) else build
    for task in conf.options("task"):
        node: Any = OmegaConf.load(conf.root() / "conf" / "task" / f"{task}.yaml")
        if str(node.get("operator", {}).get("_target_", "")).endswith(f".{getattr(kind, '__name__', '')}"):
            return settings.like(task)
    return None


def _image_shape(build: Build, y: Tensor) -> tuple[int, ...]:
    kind, given = (build.func, build.keywords) if isinstance(build, partial) else (build, {})
    if isinstance(kind, type) and issubclass(kind, Operator):
        shape = kind.image_shape_of(y.shape[1:], **given)
        if len(shape) == 3:
            return shape
    if y.ndim != 4:
        raise ConfigError(f"y: got shape {tuple(y.shape)}, expected pictures (b, c, h, w) for this operator")
    return tuple(y.shape[1:])


def _window(prior: Any, name: str, windows: int | str, shape: Sequence[int]) -> tuple[int, int, int, tuple[str, ...]]:
    """Side of the windows (0 for none), what sides of images must be multiples of, how long at least, what to say."""
    trained = getattr(prior, "side", None)
    if trained is None:
        return 0, 1, 1, ()
    stride = getattr(prior, "stride", 1)
    h, w = shape[-2:]
    if windows == "off":
        line = f"prior {name}: trained on {trained} x {trained} px and given the whole picture, {w} x {h}"
        return 0, stride, 1, (line,) if (h, w) != (trained, trained) else ()
    try:
        side = trained if windows == "auto" else int(windows)
    except ValueError as error:
        raise ConfigError(f"prior.windows: got {windows}, expected auto, off or a number of px") from error
    if side < stride or side % stride:
        raise ConfigError(f"prior.windows: got {side}, expected a multiple of {stride}; auto is {trained}")
    if (h, w) == (side, side):
        return 0, stride, 1, ()
    how = f"restored in overlapping windows of {side} px" if max(h, w) > side else f"extended to {side} x {side}"
    return side, 1, side, (f"prior {name}: trained on {trained} x {trained} px; this picture, {w} x {h}, is {how}",)


def _windowed(prior: Denoiser, streams: Streams, side: int, tile: int) -> Denoiser:
    if not side:
        return prior
    return refused("compute.tile", lambda: Windows(prior, streams, side=side, overlap=side // 4, tile=tile))  # type: ignore[no-any-return]
