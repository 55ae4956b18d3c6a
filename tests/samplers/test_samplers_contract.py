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
    Problem,
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
    "ddrm_author": DDRM(steps=STEPS, at_equality="prior", start="inverse_sigma", spacing="leading"),
    "ddnm": DDNM(steps=STEPS),
    "ddnm_author": DDNM(steps=STEPS, spacing="leading"),
    "ilvr": ILVR(steps=STEPS),
    "ilvr_author": ILVR(steps=STEPS, level="current", range_t=0),
    "ilvr_damped": ILVR(steps=STEPS, form="projection", damping=0.01),
    "pigdm": PiGDM(steps=STEPS),
    "pigdm_author": PiGDM(steps=STEPS, eta=0.0, coefficient="author_code", spacing="leading"),
    "mmps": MMPS(steps=STEPS),
    "mmps_mean": Restarts(sampler=MMPS(steps=STEPS // 2), n=2, keep="mean"),
    "mcg": MCG(steps=STEPS),
    "mcg_author": MCG(steps=STEPS, level="current"),
    "mcg_damped": MCG(steps=STEPS, damping=0.01),
    "reddiff": REDDiff(steps=STEPS),
    "reddiff_author": REDDiff(steps=STEPS + 1, lr=0.5, last_step=False, spacing="leading"),
    "daps": DAPS(steps=STEPS // 2, ode_steps=2, langevin_steps=5, lr=2e-5),
    "daps_author": DAPS(steps=STEPS // 2, ode_steps=2, langevin_steps=5, lr=2e-5, tau=0.01 / 2**0.5),
    "diffpir": DiffPIR(steps=STEPS),
    "diffpir_author": DiffPIR(steps=STEPS + 1, start="measurement", last_step=False),
    "pnp_admm": PnPADMM(steps=STEPS),
    "pnp_admm_dps": PnPADMM(steps=STEPS, rho=0.2, sigma_max=0.2, sigma_min=0.2),
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
SPECTRAL = ["ddrm", "ddrm_author", "ddnm", "ddnm_author"]
LINEAR = ["ilvr", "ilvr_author", "ilvr_damped", "pigdm", "pigdm_author", "mmps", "mmps_mean", "mcg", "mcg_author"]
LINEAR += ["mcg_damped", "diffpir", "diffpir_author", "pnp_admm", "pnp_admm_dps"]
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
    **{(s, o): "SVDOperator" for s in SPECTRAL for o in ("phase_retrieval", "hdr")},
    **{(s, o): "LinearOperator" for s in LINEAR for o in ("phase_retrieval", "hdr")},
}
PAIRS = [(s, o) for s in SAMPLERS for o in OPERATORS]
WORKING = [pair for pair in PAIRS if pair not in UNSUPPORTED]


def run(sampler: Sampler, operator: str, ids: list[str], sigma_y: float = 0.05, prior=PRIOR) -> torch.Tensor:
    streams = Streams(0, "test", ids)
    forward = OPERATORS[operator](SHAPE, streams)
    x = PRIOR.sample(streams.normal("truth", SHAPE)).clamp(-1, 1)
    y = forward.A(x)
    noise = sigma_y * streams.normal("measurement", y.shape[1:])
    y = y + (noise if forward.observed is None else noise * forward.observed)
    sampler.admit(forward)
    return sampler.restore(Problem(y=y, operator=forward, sigma_y=sigma_y, streams=streams), prior, iter)


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


#: calls of the prior and backward passes through it, whatever the operator
COUNTS = {
    **{name: (6, 0) for name in ("unconditional", "ddrm", "ddrm_author", "ddnm", "ddnm_author", "ilvr", "ilvr_author")},
    **{name: (6, 0) for name in ("ilvr_damped", "reddiff", "reddiff_author", "daps", "daps_author", "diffpir")},
    **{name: (6, 0) for name in ("diffpir_author", "pnp_admm", "pnp_admm_dps")},
    **{name: (6, 6) for name in ("dps", "safari", "safari_high", "pigdm", "pigdm_author", "mcg", "mcg_author")},
    **{name: (6, 6) for name in ("mcg_damped", "dps_restarts")},
    "mmps": (6, 12),
    "mmps_mean": (6, 12),
    **{name: (0, 0) for name in ("degraded", "wiener", "tv", "biharmonic")},
}


@pytest.mark.parametrize(("sampler", "operator"), WORKING)
@pytest.mark.filterwarnings("ignore:psi is not injective")
def test_calls_and_backward_passes_are_those_configured(sampler, operator):
    counted = Counted(PRIOR)
    run(SAMPLERS[sampler], operator, IDS[:2], prior=counted)
    assert (counted.nfe, counted.n_backward) == COUNTS[sampler]


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
        SAMPLERS[name].restore(Problem(y=y, operator=operator, sigma_y=0.05, streams=streams), Counted(Broken()), iter)
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
        x_hat = sampler.restore(Problem(y=y, operator=forward, sigma_y=0.0, streams=streams), PRIOR, iter)
        return (y - forward.A(x_hat)).flatten(1).norm(dim=1)

    free = misfit(Unconditional(steps=50))
    assert (misfit(DPS(steps=50)) < 0.5 * free).all()
    assert (misfit(SaFaRI(steps=50)) < 0.5 * free).all()
