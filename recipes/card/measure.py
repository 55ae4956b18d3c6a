"""The measurements of a prior's card."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from skimage.restoration import denoise_nl_means
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from safari_bench.data import Dataset
from safari_bench.diffusion import Denoiser, Schedule
from safari_bench.metrics import Psnr, ring_power
from safari_bench.operators import Denoising
from safari_bench.rng import Streams
from safari_bench.samplers import Problem, Unconditional
from safari_bench.shapes import Image

__all__ = ["LEVELS", "Noisy", "denoising", "mottle", "noisy_batches", "samples", "spectrum"]

#: sigma_t on [-1, 1]
LEVELS = (0.1, 0.2, 0.5, 1.0, 2.0)
#: non-local means is a method for the lower ones
_CLASSICAL_UP_TO = 0.2
#: first and last ring of each octave of frequency at 64 px, in steps of 1/64 cycle per pixel; Nyquist is 32
_OCTAVES = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32))


def denoising(
    priors: Mapping[str, Denoiser], dataset: Dataset, seed: int, device: torch.device, batch_size: int
) -> pd.DataFrame:
    """PSNR of x0_hat(x_t) for x_t = sqrt(abar_t) (x + sigma_t z), t the timestep whose sigma_t is nearest to the level.

    Every prior and non-local means see the same noisy images; estimates are clipped to [-1, 1]. Priors must have the
    linear schedule of 1000 steps.

    Returns:
        one row per method, level and image: dataset, image_id, level, sigma_t, method, psnr (dB).
    """
    found = []
    for level in LEVELS:
        for noisy in noisy_batches(dataset, level, seed, batch_size):
            estimates = {name: _estimate(prior, noisy, device) for name, prior in priors.items()}
            if level <= _CLASSICAL_UP_TO:
                estimates["nl_means"] = _non_local_means(noisy.x + noisy.sigma * noisy.z, noisy.sigma)
            for name, x_hat in estimates.items():
                scores = Psnr()(x_hat.clamp(-1, 1), noisy.x)
                found += [
                    (dataset.name, image, level, noisy.sigma, name, float(score))
                    for image, score in zip(noisy.ids, scores, strict=True)
                ]
    return pd.DataFrame(found, columns=["dataset", "image_id", "level", "sigma_t", "method", "psnr"])


class Noisy(NamedTuple):
    """A batch of images and the noise that every method is shown with them.

    Attributes:
        x: clean images in [-1, 1], (b, c, h, w).
        z: standard normal noise, like x.
        t: the timestep whose sigma_t is nearest to the level asked for.
        sigma: sigma_t; a method outside diffusion sees x + sigma z.
    """

    ids: list[str]
    x: Image
    z: Image
    t: int
    sigma: float


def noisy_batches(dataset: Dataset, level: float, seed: int, batch_size: int) -> Iterator[Noisy]:
    """The images of a dataset with noise of about `level`, on [-1, 1]; the same noise whatever the batch size."""
    schedule = Schedule()
    t = schedule.nearest(level)
    for ids, x in _batches(dataset, batch_size):
        z = Streams(seed, dataset.name, ids).normal(f"card-{level}", x.shape[1:])
        yield Noisy(ids, x, z, t, schedule.sigma(t))


def _estimate(prior: Denoiser, noisy: Noisy, device: torch.device) -> Image:
    x_t = math.sqrt(prior.schedule.abar(noisy.t)) * (noisy.x + noisy.sigma * noisy.z)
    with torch.no_grad():
        return prior.predict(x_t.to(device), noisy.t).x0_hat.cpu()


def _non_local_means(noisy: Image, sigma: float) -> Image:
    """scikit-image's, with the noise level known and its documentation's patches and strength (h = 0.8 sigma)."""
    found = [
        denoise_nl_means(
            picture.numpy(), patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True, channel_axis=0
        )
        for picture in noisy
    ]
    return torch.from_numpy(np.stack(found)).to(noisy)


def samples(
    prior: Denoiser, n: int, size: tuple[int, int, int], seed: int, device: torch.device, batch_size: int, steps: int
) -> Image:
    """n unconditional samples, ancestral (DDIM with eta = 1), x0_hat clipped; on [-1, 1], (n, c, h, w)."""
    found = []
    sampler = Unconditional(steps=steps)
    for first in tqdm(range(0, n, batch_size), desc="samples", unit="batch"):
        ids = [f"sample-{k}" for k in range(first, min(first + batch_size, n))]
        streams = Streams(seed, "card", ids, device)
        operator = Denoising(size, streams)
        y = torch.zeros(len(ids), *size, device=device)
        problem = Problem(y=y, operator=operator, sigma_y=0.0, streams=streams)
        found.append(sampler.restore(problem, prior, iter).cpu())
    return torch.cat(found).clamp(-1, 1)


def spectrum(pictures: Image, dataset: Dataset, batch_size: int) -> pd.DataFrame:
    """Mean radial power of pictures and of a dataset, by octave of frequency.

    Returns:
        rows with octave (cycles per pixel, upper edge), dataset_db and pictures_db (10 log10 of mean power on [0, 1]),
        difference_db.
    """
    reference = torch.cat([_power(x) for _, x in _batches(dataset, batch_size)]).mean(0)
    power = _power(pictures).mean(0)
    rows = []
    for first, last in _OCTAVES:
        theirs, ours = (10 * math.log10(float(p[first : last + 1].mean())) for p in (reference, power))
        rows.append((last / min(pictures.shape[-2:]), theirs, ours, ours - theirs))
    return pd.DataFrame(rows, columns=["up_to_cycles_per_pixel", "dataset_db", "pictures_db", "difference_db"])


def mottle(prior: Denoiser, level: float, seed: int, device: torch.device, side: int = 64) -> float:
    """How much noise stays in the 8 x 8 means of flat pictures: 0 none, 1 all of it.

    24 pictures of one random colour each are denoised in one step; the result is the root mean square error of their
    8 x 8 means divided by that of the noisy pictures.
    """
    streams = Streams(seed, "flat", [f"flat-{k}" for k in range(24)])
    x = (1.6 * streams.uniform("colour", (3, 1, 1)) - 0.8).expand(-1, -1, side, side)
    t = prior.schedule.nearest(level)
    sigma = prior.schedule.sigma(t)
    noisy = Noisy([], x, streams.normal("noise", (3, side, side)), t, sigma)
    left = F.avg_pool2d(_estimate(prior, noisy, device) - x, 8)
    return float(left.square().mean().sqrt() / (sigma * F.avg_pool2d(noisy.z, 8)).square().mean().sqrt())


def _power(images: Image) -> Tensor:
    return ring_power((images.double() + 1) / 2).mean(1)


def _batches(dataset: Dataset, batch_size: int) -> Iterator[tuple[list[str], Tensor]]:
    records = dataset.records()
    for first in range(0, len(records), batch_size):
        places = range(first, min(first + batch_size, len(records)))
        yield [records[k].id for k in places], torch.stack([dataset.load(k) for k in places])
