"""What every sampler owes the runner, checked on one operator: `check_contract`, used on every file of conf/sampler."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from safari_bench import operators as ops
from safari_bench.diffusion import Counted
from safari_bench.priors.gaussian import load
from safari_bench.rng import Streams
from safari_bench.samplers import Problem, Sampler

CONF = Path(__file__).parents[2] / "conf"
#: every sampler there is
PRESETS = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))
SHAPE = (3, 16, 24)
PRIOR = load()
OPERATORS = {
    "denoising": ops.Denoising,
    "inpaint_box": functools.partial(ops.BoxInpainting, hole=8, margin=2),
    "inpaint_random": functools.partial(ops.RandomInpainting, fraction=0.7),
    "sr_x4": functools.partial(ops.BicubicDownsample, factor=4),
    "sr_avgpool_x4": functools.partial(ops.AveragePool, factor=4),
    "deblur_gaussian": functools.partial(ops.GaussianBlur, taps=7, std=1.5, boundary="reflect"),
    "deblur_uniform": functools.partial(ops.UniformBlur, taps=4, boundary="circular"),
    "deblur_aniso": functools.partial(ops.AnisotropicBlur, taps=9, std_h=20.0, std_w=1.0, boundary="reflect"),
    "deblur_motion": functools.partial(ops.MotionBlur, taps=7, intensity=0.5),
    "colorization": ops.Colorization,
    "cs_walsh": functools.partial(ops.WalshCompressedSensing, ratio=0.5),
    "phase_retrieval": functools.partial(ops.PhaseRetrieval, oversample=2.0),
    "hdr": functools.partial(ops.HighDynamicRange, scale=2.0),
}
#: what a sampler that says how long it runs is given here
SMALL = {"steps": 4, "ode_steps": 2, "langevin_steps": 5, "n": 2, "range_t": 1, "iterations": 10}


def node_of(name: str) -> DictConfig:
    """conf/sampler/<name>.yaml with the files it builds on, under guidance=full."""
    node = OmegaConf.load(CONF / "sampler" / f"{name}.yaml")
    for base in node.pop("defaults", []):
        if base != "_self_":
            node = OmegaConf.merge(node_of(base), node)
    return node


def small(name: str, **changes) -> Sampler:
    """The sampler of a file with few steps, and with other values where the caller says so."""

    def shrink(node):
        for key, value in SMALL.items():
            if isinstance(node.get(key), int) and node[key] > value:
                node[key] = value
        if "langevin_steps" in node:
            node.lr, node.steps = 2e-5, 2  # stable for every operator here
        if "sampler" in node:
            shrink(node.sampler)
            node.sampler.steps = 2

    node = node_of(name)
    for key in ("name", "about"):
        node.pop(key, None)
    shrink(node)
    weights = {"_target_": "safari_bench.fidelity.Perceptual", **OmegaConf.load(CONF / "guidance" / "full.yaml")}
    whole = OmegaConf.merge({"guidance": weights}, {"sampler": node}, {"sampler": changes})
    return instantiate(whole.sampler, _convert_="all")


@dataclass
class Run:
    x_hat: torch.Tensor
    calls: tuple[int, int]
    bars: int


def run(sampler: Sampler, operator, ids: list[str], sigma_y: float = 0.05, prior=PRIOR) -> Run:
    """One restore as the runner does it, of images that have nothing in common but the prior they are drawn from.

    Raises:
        Unsupported: the sampler refuses the operator.
        AssertionError: it changed its input, drew random numbers elsewhere than from its streams, or shows no progress.
    """
    streams = Streams(0, "test", ids)
    forward = operator(SHAPE, streams)
    x = PRIOR.sample(streams.normal("truth", SHAPE)).clamp(-1, 1)
    y = forward.A(x)
    noise = sigma_y * streams.normal("measurement", y.shape[1:])
    y = y + (noise if forward.observed is None else noise * forward.observed)
    sampler.admit(forward)
    given, counted, bars = y.clone(), Counted(prior), []

    def progress(pairs):
        bars.append(list(pairs))
        return iter(bars[-1])

    state = torch.random.get_rng_state(), np.random.get_state()[1].copy(), torch.is_grad_enabled()
    x_hat = sampler.restore(Problem(y=y, operator=forward, sigma_y=sigma_y, streams=streams), counted, progress)
    assert torch.equal(y, given), "restore changed y"
    assert torch.equal(torch.random.get_rng_state(), state[0]), "restore drew from torch's generator, not from streams"
    assert np.array_equal(np.random.get_state()[1], state[1]), "restore drew from numpy's generator, not from streams"
    assert torch.is_grad_enabled() == state[2], "restore left gradients switched on or off"
    got, expected = (x_hat.dtype, x_hat.device, *x_hat.shape), (y.dtype, y.device, len(ids), *SHAPE)
    assert got == expected, f"restore returned {got}, expected {expected}"
    assert not x_hat.requires_grad, "restore returned a graph; detach it"
    assert x_hat.isfinite().all(), f"restore returned values that are not finite, with sigma_y = {sigma_y}"
    assert sampler.uses_prior == (counted.nfe > 0), "uses_prior does not say whether the denoiser is called"
    assert bool(bars) or not sampler.uses_prior, "restore does not wrap its loop in progress"
    return Run(x_hat, (counted.nfe, counted.n_backward), len(bars))


def check_contract(sampler: Sampler, operator, tolerance: float = 2e-4) -> tuple[int, int]:
    """Four restores: a batch, one of its images alone, that again, and that without noise.

    Args:
        tolerance: by how much the rounding of a batch may differ from that of an image alone.
    Returns:
        calls of the prior and backward passes of one restore.
    Raises:
        Unsupported: the sampler refuses the operator.
        AssertionError: it breaks the contract.
    """
    batch = run(sampler, operator, ["a", "b", "a"])
    alone, again = run(sampler, operator, ["b"]), run(sampler, operator, ["b"])
    assert torch.equal(alone.x_hat, again.x_hat), "a second run of the same image differs"
    by = (batch.x_hat[1] - alone.x_hat[0]).abs().max()
    assert by <= tolerance, f"an image in a batch differs from the image alone by {by:.2g}"
    by = (batch.x_hat[0] - batch.x_hat[2]).abs().max()
    assert by <= tolerance, f"an image at two places of a batch differs by {by:.2g}"
    clean = run(sampler, operator, ["b"], sigma_y=0.0)
    assert batch.calls == alone.calls == clean.calls, "calls of the prior depend on the batch or the noise"
    return batch.calls
