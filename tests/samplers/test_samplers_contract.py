"""Every file of conf/sampler on every operator: what `check_contract` lists, honest counts, and refusals with a reason.

A new file is tested by being there."""

import functools

import pytest
import torch
from contract_checks import OPERATORS, PRESETS, PRIOR, SHAPE, check_contract, small

from safari_bench import operators as ops
from safari_bench.diffusion import Counted, NotFinite
from safari_bench.rng import Streams
from safari_bench.runner import calls
from safari_bench.samplers import DPS, Problem, SaFaRI, Sampler, Unconditional

IDS = ["a", "b", "c", "d"]
HIGH = {"_target_": "safari_bench.fidelity.Perceptual", "high": 1.0, "spatial": 0.0, "low": 0.0}
#: settings that no file has, and whose code is another one
VARIANTS = {
    "safari, high band only": ("safari", {"fidelity": HIGH}),
    "ilvr, damped": ("ilvr", {"form": "projection", "damping": 0.01}),
    "mcg, damped": ("mcg", {"damping": 0.01}),
    "ddrm, clipped": ("ddrm", {"clip": True}),
}
SAMPLERS = {name: small(name) for name in PRESETS}
SAMPLERS |= {name: small(base, **changes) for name, (base, changes) in VARIANTS.items()}
#: refusals beyond `requires`: a word of the reason
REFUSED = {
    **{(s, o): "picture" for s in ("safari", "safari_restarts") for o in ("cs_walsh", "phase_retrieval")},
    **{("safari, high band only", o): "picture" for o in ("cs_walsh", "phase_retrieval")},
    ("degraded", "phase_retrieval"): "phase",
    **{("biharmonic", o): "has none" for o in OPERATORS if not o.startswith("inpaint")},
}
#: calls of the prior and backward passes of what ships, in four steps or two runs of two
COUNTS = {
    **dict.fromkeys(("unconditional", "ddrm", "ddrm_author_code", "ddrm, clipped", "ddnm", "ddnm_author_code"), (4, 0)),
    **dict.fromkeys(("ilvr", "ilvr_author_code", "ilvr, damped", "reddiff", "diffpir", "pnp_admm"), (4, 0)),
    **dict.fromkeys(("pnp_admm_dps_paper", "daps", "daps_author_code"), (4, 0)),
    "daps_restarts": (8, 0),
    **dict.fromkeys(("diffpir_author_code", "reddiff_author_code"), (3, 0)),  # their last call changes nothing
    **dict.fromkeys(("dps", "dps_author_code", "safari", "safari, high band only", "dps_restarts"), (4, 4)),
    **dict.fromkeys(("pigdm", "pigdm_author_code", "mcg", "mcg_author_code", "mcg, damped", "safari_restarts"), (4, 4)),
    **dict.fromkeys(("mmps", "mmps_mean"), (4, 8)),
    **dict.fromkeys(("degraded", "wiener", "tv", "biharmonic"), (0, 0)),
}


@functools.cache
def forecast(name: str) -> tuple[int, int]:
    """What `plan` says of a sampler's calls."""
    return calls(SAMPLERS[name], ops.Denoising(SHAPE, Streams(0, "forecast", ["one"])), PRIOR.schedule)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.filterwarnings("ignore:psi is not injective")
def test_contract(name, operator):
    sampler, build = SAMPLERS[name], OPERATORS[operator]
    required = getattr(sampler, "sampler", sampler).requires  # of what restarts run
    is_enough = isinstance(build(SHAPE, Streams(0, "test", ["a"])), required)
    # nonlinear measurements amplify rounding: |F x| has a kink at 0
    tolerance = 1e-6 if not sampler.uses_prior else 1e-2 if operator == "phase_retrieval" else 2e-4
    try:
        found = check_contract(sampler, build, tolerance)
    except ops.Unsupported as reason:
        word = REFUSED.get((name, operator), "") if is_enough else required.__name__
        assert word or name not in COUNTS, f"{name} refused {operator}: {reason}"
        assert word in str(reason) and len(str(reason)) > 20
    else:
        assert is_enough and (name, operator) not in REFUSED
        assert found == COUNTS.get(name, found) == forecast(name)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.filterwarnings("ignore:psi is not injective")
def test_every_sampler_works_with_some_operator(name):
    def admitted(build) -> bool:
        try:
            SAMPLERS[name].admit(build(SHAPE, Streams(0, "test", ["a"])))
        except ops.Unsupported:
            return False
        return True

    assert any(map(admitted, OPERATORS.values()))


class OneStepSizeForAll(DPS):
    """The mistake of DPS's own code: one norm over the batch."""

    def _step(self, L):
        return super()._step(L.sum().expand_as(L))


class Free(Unconditional):
    """Unconditional, and then what `spoil` does to its answer."""

    def restore(self, problem, denoiser, progress):
        return self.spoil(super().restore(problem, denoiser, progress), problem)


class ByPlace(Free):
    def spoil(self, x, problem):
        return x + torch.arange(len(x))[:, None, None, None]


class Unseeded(Free):
    def spoil(self, x, problem):
        return x + 0.1 * torch.randn_like(x)


class Counting(Free):
    count = 0

    def spoil(self, x, problem):
        Counting.count += 1
        return x + 0.01 * Counting.count


class Overwriting(Free):
    def spoil(self, x, problem):
        problem.y.mul_(0.5)
        return x


class Double(Free):
    def spoil(self, x, problem):
        return x.double()


class Graph(Free):
    def spoil(self, x, problem):
        return x.clone().requires_grad_()


class Flat(Free):
    def spoil(self, x, problem):
        return x.mean(1, keepdim=True)


class Dividing(Free):
    def spoil(self, x, problem):
        return x / problem.sigma_y


class Modest(Free):
    uses_prior = False

    def spoil(self, x, problem):
        return x


class Silent(Unconditional):
    def restore(self, problem, denoiser, progress):
        return super().restore(problem, denoiser, lambda pairs: pairs)


WRONG = {
    OneStepSizeForAll: "differs from the image alone",
    ByPlace: "differs",
    Unseeded: "not from streams",
    Counting: "a second run of the same image differs",
    Overwriting: "restore changed y",
    Double: "float64",
    Graph: "detach",
    Flat: "1, 16, 24",
    Dividing: "not finite, with sigma_y = 0",
    Modest: "uses_prior",
    Silent: "progress",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_sampler_that_breaks_the_contract_does_not_pass(wrong):
    with pytest.raises(AssertionError, match=WRONG[wrong]):
        check_contract(wrong(steps=4), OPERATORS["sr_x4"])


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

    with pytest.raises(NotFinite, match=r"step 4 \(t = 0\)") as error:
        SAMPLERS[name].restore(Problem(y=y, operator=operator, sigma_y=0.05, streams=streams), Counted(Broken()), iter)
    assert error.value.images == [2]


def test_safari_warns_when_parts_of_the_measurement_are_ignored():
    operator = ops.Denoising(SHAPE, Streams(0, "test", IDS))
    with pytest.warns(UserWarning, match="not injective"):
        SAMPLERS["safari, high band only"].check(operator)
    assert SAMPLERS["safari, high band only"].facts() == {"psi_injective": False}
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
