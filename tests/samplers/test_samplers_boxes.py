"""Filling a box under the exact Gaussian prior with the embedded settings: no hole turns white (docs/stability.md)."""

import pytest
import torch
import yaml
from contract_checks import node_of
from hydra.utils import instantiate
from omegaconf import OmegaConf

from safari_bench import operators as ops
from safari_bench.cli.conf import root
from safari_bench.data import Photographs
from safari_bench.priors.gaussian import load
from safari_bench.rng import Streams
from safari_bench.samplers import Problem, Sampler

TUNED = yaml.safe_load((root() / "conf" / "tuned" / "photos64.yaml").read_text())["inpaint_box"]
GUIDED = ("dps", "safari", "mcg", "pigdm")
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in TUNED if name not in (*GUIDED, "unconditional")]
SHAPE, SIGMA_Y = (3, 64, 64), 0.05


def sampler(name: str, **changes) -> Sampler:
    node = OmegaConf.to_container(node_of(name), resolve=False)
    own = {key: value for key, value in node.items() if key not in ("name", "about", "fidelity")}
    return instantiate(OmegaConf.merge(own, TUNED[name]["values"], changes), _convert_="all")


def hole_of(method: Sampler) -> tuple[float, float, float]:
    """Mean of x_hat - x in the holes of eight photographs, and the shares of white values there in x_hat and in x."""
    dataset = Photographs(split="tuning", size=64, n=8)
    x = torch.stack([dataset.load(i) for i in range(8)])
    streams = Streams(0, "boxes", [record.id for record in dataset.records()])
    operator = ops.BoxInpainting(SHAPE, streams, hole=32, margin=8)
    y = operator.A(x) + SIGMA_Y * operator.observed * streams.normal("measurement", SHAPE)
    problem = Problem(y=y, operator=operator, sigma_y=SIGMA_Y, streams=streams)
    hole = (operator.observed == 0).expand_as(x)
    filled, true = method.restore(problem, load(), iter).clamp(-1, 1)[hole], x[hole]
    return float((filled - true).mean()), float((filled > 0.99).float().mean()), float((true > 0.99).float().mean())


@pytest.mark.parametrize("name", [*GUIDED, *OTHERS])
def test_no_hole_is_biased_or_whiter_than_photographs(name):
    bias, white, truth = hole_of(sampler(name))
    most = 0.01 if name in GUIDED else 0.03  # MMPS draws more of it, as photographs have
    assert abs(bias) < 0.1 and white < most < truth, (bias, white, truth)


def test_published_settings_at_few_steps_do_turn_white():
    """What the embedded settings are there for."""
    _, white, truth = hole_of(sampler("pigdm", coefficient="paper", spacing="quadratic"))
    assert white > 0.2 > 3 * truth
