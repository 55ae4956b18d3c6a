"""Windows: what the prior says of each place, blended; one image's answer is its own."""

from itertools import pairwise

import pytest
import torch

from safari_bench.diffusion import Schedule, from_x0
from safari_bench.priors.windows import Windows
from safari_bench.rng import Streams

T = 300


class Pixelwise:
    """A prior that knows each pixel by itself: cut into windows it says the same."""

    schedule = Schedule()
    calls = 0

    def predict(self, x_t, t, *, clip=False):
        self.calls += 1
        assert x_t.shape[-2:] == (8, 8)
        return from_x0(self.schedule, x_t, torch.tanh(x_t), t, torch.sigmoid(x_t), clip)


def windows(tile: int = 64, ids: tuple[str, ...] = ("a", "b"), overlap: int = 3) -> Windows:
    return Windows(Pixelwise(), Streams(0, "d", ids), side=8, overlap=overlap, tile=tile)


def draw(ids=("a", "b"), shape=(3, 21, 30)):
    return Streams(1, "d", ids, dtype=torch.float64).normal("x", shape)


@pytest.mark.parametrize("shape", [(3, 21, 30), (3, 8, 8), (3, 8, 9), (3, 16, 13)])
def test_a_pixelwise_prior_is_left_as_it_is(shape):
    x = draw(shape=shape)
    for _ in range(5):  # other shifts
        found = windows().predict(x, T)
        assert torch.allclose(found.x0_hat, torch.tanh(x), atol=1e-12)
        assert torch.allclose(found.var_fraction, torch.sigmoid(x), atol=1e-12)
        whole = from_x0(Schedule(), x, torch.tanh(x), T, None, True)
        assert torch.allclose(windows().predict(x, T, clip=True).eps_hat, whole.eps_hat, atol=1e-10)


def test_an_image_is_its_own_whatever_the_batch_and_the_tile():
    class Blurred(Pixelwise):
        def predict(self, x_t, t, *, clip=False):
            return from_x0(self.schedule, x_t, x_t.mean((-1, -2), keepdim=True).expand_as(x_t), t, None, clip)

    x = draw()
    together = Windows(Blurred(), Streams(0, "d", ("a", "b")), side=8, overlap=3, tile=64).predict(x, T).x0_hat
    for i, name in enumerate(("a", "b")):
        alone = Windows(Blurred(), Streams(0, "d", (name,)), side=8, overlap=3, tile=5).predict(x[i : i + 1], T).x0_hat
        assert torch.allclose(alone, together[i : i + 1], atol=1e-12)


def test_shifts_change_from_call_to_call():
    made = windows()
    assert len({tuple(made._corners(1, 100, 100).tolist()) for _ in range(5)}) > 1


@pytest.mark.parametrize("n", [8, 9, 15, 16, 100])
def test_every_pixel_is_covered_with_the_overlap_asked_for(n):
    for shift in (0.0, 0.3, 0.999):
        starts = list(windows()._starts(n, shift))
        assert starts[0] == 0
        assert starts[-1] == n - 8
        assert all(0 < after - before <= 5 for before, after in pairwise(starts))


@pytest.mark.parametrize("tile", [1, 7, 500])
def test_gradients_flow_and_can_be_taken_twice(tile):
    x = draw().requires_grad_()
    made = windows(tile)
    loss = made.predict(x, T).x0_hat.square().sum()
    expected = 2 * torch.tanh(x) * (1 - torch.tanh(x) ** 2)
    for _ in range(2):
        (found,) = torch.autograd.grad(loss, x, retain_graph=True)
        assert torch.allclose(found, expected, atol=1e-10)


def test_what_is_too_small_is_refused():
    with pytest.raises(ValueError, match="smaller than a window"):
        windows().predict(draw(shape=(3, 7, 30)), T)
    with pytest.raises(ValueError, match=r"compute\.tile"):
        windows(tile=0)
