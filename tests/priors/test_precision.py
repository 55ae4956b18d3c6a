"""Half precision inside the network alone, gradients that survive it, and requests a machine cannot meet."""

import pytest
import torch
from diffusers import UNet2DModel
from torch._dynamo.utils import counters
from torch._inductor.utils import fresh_cache

from safari_bench import machine
from safari_bench.cli.precision import set_layout, set_precision
from safari_bench.cli.schema import ConfigError
from safari_bench.diffusion import EpsDenoiser, Schedule
from safari_bench.priors import gaussian
from safari_bench.priors.unet import Folded, UNetPrior, _scale_gradient

CPU = torch.device("cpu")


@pytest.fixture
def prior() -> UNetPrior:
    torch.manual_seed(0)
    kinds = dict(down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2)
    unet = UNet2DModel(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, **kinds)
    network = Folded(unet).eval().requires_grad_(False)
    return UNetPrior(network, EpsDenoiser(network, Schedule()), "digest")


def output_and_gradient(prior: UNetPrior, upstream: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    output = prior.network(x, torch.tensor([500, 500]))
    return output.detach(), torch.autograd.grad((upstream * output).sum(), x)[0] / upstream


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize(("half", "rounding"), [(torch.bfloat16, 3e-2), (torch.float16, 4e-3)])
def test_half_precision_is_the_network_up_to_its_rounding(prior, half, rounding):
    exact = output_and_gradient(prior)
    prior.network.autocast = half
    for got, expected in zip(output_and_gradient(prior), exact, strict=True):
        assert got.dtype == torch.float32
        assert 0 < distance(got, expected) < rounding
    assert all(weight.dtype == torch.float32 for weight in prior.network.parameters())


def test_small_gradients_survive_float16(prior, monkeypatch):
    exact = output_and_gradient(prior)[1]
    prior.network.autocast = torch.float16
    assert distance(output_and_gradient(prior, 1e-7)[1], exact) < 3e-2
    monkeypatch.setattr("safari_bench.priors.unet._GRADIENT_SCALE", 1.0)
    assert distance(output_and_gradient(prior, 1e-7)[1], exact) > 0.3  # what the scale is for


def test_scaling_changes_the_gradient_and_not_the_value():
    x = torch.tensor([2.0], requires_grad=True)
    y = _scale_gradient(x, 8.0)
    assert torch.equal(y, x) and torch.autograd.grad(3 * y, x)[0] == 24


def test_layout_and_compilation_change_nothing_but_speed(prior, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    exact = output_and_gradient(prior)
    for layout in ({"compile": True, "channels_last": True}, {"compile": True, "channels_last": False}):
        set_layout(prior, layout)
        for got, expected in zip(output_and_gradient(prior), exact, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert len(compiled) == 1  # once per process, not once per cell
    set_layout(prior, {"compile": False, "channels_last": False})
    assert prior.network._compiled is None


@pytest.mark.slow
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_compiled_network_is_the_network(prior, channels_last):
    """torch.compile itself, on a network of 8 channels: the build takes minutes on a larger one."""
    exact = output_and_gradient(prior)
    set_layout(prior, {"compile": True, "channels_last": channels_last})
    for got, expected in zip(output_and_gradient(prior), exact, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():  # another graph than the one with gradients
        x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(prior.network(x, torch.tensor([500, 500])), exact[0], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_network_can_be_gone_back_through_twice(prior, monkeypatch):
    """MMPS does, also where an earlier process has left code on disk that allows one backward pass."""
    exact = output_and_gradient(prior)
    monkeypatch.setattr(torch._functorch.config, "donated_buffer", True)  # torch's default
    monkeypatch.setattr(torch.compiler.config, "cache_key_tag", "")
    with fresh_cache():
        prior.network.unet.to(memory_format=torch.channels_last)
        prior.network._compiled = torch.compile(prior.network.unet.forward)
        output_and_gradient(prior)
        torch._dynamo.reset()  # a new process, as far as what is in memory goes
        counters.clear()
        prior.network._compiled = None
        set_layout(prior, {"compile": True, "channels_last": True})
        x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
        output = prior.network(x, torch.tensor([500, 500]))
        for _ in range(3):
            (gradient,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
            torch.testing.assert_close(gradient, exact[1], rtol=1e-5, atol=1e-5)
        assert counters["inductor"]["fxgraph_cache_hit"] == 0  # on photos64 that code makes the second gradient wrong


@pytest.mark.parametrize(
    ("precision", "said"),
    [("tf32", "needs a GPU"), ("fp16", "needs a GPU"), ("bf16", "no bfloat16")],
)
def test_what_a_processor_has_not_is_refused(prior, monkeypatch, precision, said):
    monkeypatch.setattr(machine, "has_bf16", lambda device: False)
    with pytest.raises(ConfigError, match=said):
        set_precision(prior, precision, CPU)


def test_a_prior_without_a_network_has_no_half_precision():
    with pytest.raises(ConfigError, match="needs a network prior"):
        set_precision(gaussian.load(), "bf16", CPU)
    set_precision(gaussian.load(), "fp64", CPU)


def test_fp32_is_fp32_also_after_another_precision(prior, monkeypatch):
    monkeypatch.setattr(machine, "has_bf16", lambda device: True)
    set_precision(prior, "bf16", CPU)
    assert prior.network.autocast is torch.bfloat16
    set_precision(prior, "fp32", CPU)
    assert prior.network.autocast is None
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
