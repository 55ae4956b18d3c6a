"""What every method owes the runner, for every method on every operator: independence of the batch, repeatability,
honest counts, no NaN without noise, non-square images, and a refusal with a reason where it cannot work."""

import functools

import pytest
import torch

from safari_bench import operators as ops
from safari_bench.diffusion import Counted, NotFinite
from safari_bench.fidelity import Perceptual
from safari_bench.priors.gaussian import load
from safari_bench.rng import Streams
from safari_bench.samplers import (
    DAPS,
    DDNM,
    DDRM,
    DPS,
    ILVR,
    MCG,
    MMPS,
    Biharmonic,
    Degraded,
    DiffPIR,
    PiGDM,
    PnPADMM,
    REDDiff,
    Restarts,
    SaFaRI,
    Sampler,
    TotalVariation,
    Unconditional,
    Wiener,
)

SHAPE = (3, 16, 24)
IDS = ["a", "b", "c", "d"]
STEPS = 6
PRIOR = load()

SAMPLERS = {
    "unconditional": Unconditional(steps=STEPS),
    "dps": DPS(steps=STEPS),
    "safari": SaFaRI(steps=STEPS, fidelity=Perceptual(pixel=0.1, spatial=1.0, low=1.0, high=0.5)),
    "safari_high": SaFaRI(steps=STEPS, fidelity=Perceptual(high=1.0)),
    "degraded": Degraded(),
    "ddrm": DDRM(steps=STEPS),
    "ddnm": DDNM(steps=STEPS),
    "ilvr": ILVR(steps=STEPS),
    "ilvr_damped": ILVR(steps=STEPS, form="projection", damping=0.01),
    "pigdm": PiGDM(steps=STEPS),
    "mmps": MMPS(steps=STEPS),
    "mcg": MCG(steps=STEPS),
    "mcg_damped": MCG(steps=STEPS, damping=0.01),
    "reddiff": REDDiff(steps=STEPS),
    "daps": DAPS(steps=STEPS // 2, ode_steps=2, langevin_steps=5, lr=2e-5),
    "diffpir": DiffPIR(steps=STEPS),
    "diffpir_author": DiffPIR(steps=STEPS + 1, start="measurement", last_step=False),
    "pnp_admm": PnPADMM(steps=STEPS),
    "wiener": Wiener(gaussian=PRIOR),
    "tv": TotalVariation(iterations=10),
    "biharmonic": Biharmonic(),
    "dps_restarts": Restarts(sampler=DPS(steps=STEPS // 2), n=2),
}
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
#: what cannot work, and a word of the reason
UNSUPPORTED = {
    ("safari", "cs_walsh"): "picture",
    ("safari", "phase_retrieval"): "picture",
    ("safari_high", "cs_walsh"): "picture",
    ("safari_high", "phase_retrieval"): "picture",
    ("degraded", "phase_retrieval"): "phase",
    **{("wiener", o): "LinearOperator" for o in ("phase_retrieval", "hdr")},
    **{("tv", o): "SVDOperator" for o in ("phase_retrieval", "hdr")},
    **{("biharmonic", o): "has none" for o in OPERATORS if not o.startswith("inpaint")},
    **{(s, o): "SVDOperator" for s in ("ddrm", "ddnm") for o in ("phase_retrieval", "hdr")},
    **{(s, o): "LinearOperator" for s in ("ilvr", "ilvr_damped") for o in ("phase_retrieval", "hdr")},
    **{(s, o): "LinearOperator" for s in ("pigdm", "mmps", "mcg", "mcg_damped") for o in ("phase_retrieval", "hdr")},
    **{(s, o): "LinearOperator" for s in ("diffpir", "diffpir_author", "pnp_admm") for o in ("phase_retrieval", "hdr")},
}
PAIRS = [(s, o) for s in SAMPLERS for o in OPERATORS]
WORKING = [pair for pair in PAIRS if pair not in UNSUPPORTED]


def run(sampler: Sampler, operator: str, ids: list[str], sigma_y: float = 0.05) -> torch.Tensor:
    streams = Streams(0, "test", ids)
    forward = OPERATORS[operator](SHAPE, streams)
    x = PRIOR.sample(streams.normal("truth", SHAPE)).clamp(-1, 1)
    y = forward.A(x)
    noise = sigma_y * streams.normal("measurement", y.shape[1:])
    y = y + (noise if forward.observed is None else noise * forward.observed)
    if not isinstance(forward, sampler.requires):  # as the runner does
        raise ops.Unsupported(f"{type(sampler).__name__} needs a {sampler.requires.__name__}")
    sampler.check(forward)
    return sampler.restore(y, forward, sigma_y, PRIOR, streams, iter)


@pytest.mark.parametrize(("sampler", "operator"), WORKING)
@pytest.mark.filterwarnings("ignore:psi is not injective")
def test_an_image_does_not_depend_on_its_batch(sampler, operator):
    """A batch of 4 equals 4 batches of 1 and the same batch in another order, to rounding; reruns are bit-equal."""
    together = run(SAMPLERS[sampler], operator, IDS)
    assert together.shape == (4, *SHAPE)
    assert torch.equal(together, run(SAMPLERS[sampler], operator, IDS))
    # nonlinear measurements amplify rounding: |F x| has a kink at 0
    tolerance = 1e-2 if operator == "phase_retrieval" else 2e-4
    order = [2, 0, 3, 1]
    shuffled = run(SAMPLERS[sampler], operator, [IDS[i] for i in order])
    torch.testing.assert_close(shuffled, together[order], rtol=0, atol=tolerance)
    for i, image_id in enumerate(IDS):
        torch.testing.assert_close(run(SAMPLERS[sampler], operator, [image_id])[0], together[i], rtol=0, atol=tolerance)


@pytest.mark.parametrize(("sampler", "operator"), WORKING)
@pytest.mark.filterwarnings("ignore:psi is not injective")
def test_no_noise_is_no_nan(sampler, operator):
    assert torch.isfinite(run(SAMPLERS[sampler], operator, IDS[:2], sigma_y=0.0)).all()


@pytest.mark.parametrize("pair", UNSUPPORTED)
@pytest.mark.filterwarnings("ignore:psi is not injective")
def test_what_cannot_work_says_why(pair):
    with pytest.raises(ops.Unsupported, match=UNSUPPORTED[pair]) as error:
        run(SAMPLERS[pair[0]], pair[1], IDS[:1])
    assert len(str(error.value)) > 20


@pytest.mark.parametrize(
    ("name", "calls", "backward"),
    [
        ("unconditional", 6, 0),
        ("dps", 6, 6),
        ("safari", 6, 6),
        ("degraded", 0, 0),
        ("wiener", 0, 0),
        ("tv", 0, 0),
        ("ddrm", 6, 0),
        ("ddnm", 6, 0),
        ("ilvr", 6, 0),
        ("pigdm", 6, 6),
        ("mmps", 6, 12),
        ("mcg", 6, 6),
        ("reddiff", 6, 0),
        ("daps", 6, 0),
        ("diffpir", 6, 0),
        ("diffpir_author", 6, 0),
        ("pnp_admm", 6, 0),
        ("dps_restarts", 6, 6),
    ],
)
def test_calls_and_backward_passes_are_those_configured(name, calls, backward):
    streams = Streams(0, "test", IDS)
    operator = ops.BicubicDownsample(SHAPE, streams, factor=4)
    counted = Counted(PRIOR)
    SAMPLERS[name].restore(torch.zeros(4, 3, 4, 6), operator, 0.05, counted, streams, iter)
    assert (counted.nfe, counted.n_backward) == (calls, backward)


@pytest.mark.parametrize(
    "name", ["unconditional", "dps", "safari", "ddrm", "ddnm", "ilvr", "pigdm", "mmps", "mcg", "reddiff"]
)
def test_a_diverging_image_is_named_with_its_step(name):
    streams = Streams(0, "test", IDS)
    operator = ops.Denoising(SHAPE, streams)
    y = torch.zeros(4, *SHAPE)

    class Broken:
        schedule = PRIOR.schedule
        sha256 = ""

        def predict(self, x_t, t, *, clip=False):
            prediction = PRIOR.predict(x_t, t, clip=clip)
            if t < 500:
                prediction.x0_hat[2] = torch.nan
                prediction.eps_hat[2] = torch.nan
            return prediction

    with pytest.raises(NotFinite, match=r"step 5 \(t = 200\)") as error:
        SAMPLERS[name].restore(y, operator, 0.05, Counted(Broken()), streams, iter)
    assert error.value.images == [2]


def test_safari_warns_when_parts_of_the_measurement_are_ignored():
    operator = ops.Denoising(SHAPE, Streams(0, "test", IDS))
    with pytest.warns(UserWarning, match="not injective"):
        SAMPLERS["safari_high"].check(operator)
    assert SAMPLERS["safari_high"].facts() == {"psi_injective": False}
    assert SAMPLERS["safari"].facts() == {"psi_injective": True}


@pytest.mark.parametrize("operator", ["sr_x4", "inpaint_box", "deblur_gaussian"])
def test_guidance_pulls_towards_the_measurement(operator):
    """Not a statement of quality: with 50 steps both methods explain y far better than the prior alone does."""

    def misfit(sampler: Sampler) -> torch.Tensor:
        streams = Streams(0, "test", IDS)
        forward = OPERATORS[operator](SHAPE, streams)
        y = forward.A(PRIOR.sample(streams.normal("truth", SHAPE)).clamp(-1, 1))
        x_hat = sampler.restore(y, forward, 0.0, PRIOR, streams, iter)
        return (y - forward.A(x_hat)).flatten(1).norm(dim=1)

    free = misfit(Unconditional(steps=50))
    assert (misfit(DPS(steps=50)) < 0.5 * free).all()
    assert (misfit(SaFaRI(steps=50)) < 0.5 * free).all()
