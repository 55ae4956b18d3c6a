"""What every operator inherits: joining images to a batch, and the slow routes for those that write A alone."""

import pytest
import torch
from dense_oracles import CASES, draw

from safari_bench import operators as ops
from safari_bench.operators.contract import join
from safari_bench.rng import Streams

CPU = torch.device("cpu")
IDS = ("a", "b", "c")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_operators_of_images_join_to_the_operator_of_their_batch(name, dtype):
    """The same bits as an operator built for the batch, in the precision of the batch."""
    case = CASES[name]
    built = case.build(dtype, ids=IDS)
    alone = [case.build(torch.float64, ids=(i,)) for i in IDS]
    assert all(operator.singular_values.dtype == torch.float64 for operator in alone)  # cached, and not to be joined
    joined = join(alone, CPU, dtype)
    assert (joined.batch, joined.dtype, type(joined)) == (3, dtype, type(built))
    x = draw((3, *case.shape), 1, dtype)
    y = built.A(x)
    assert torch.equal(joined.A(x), y)
    for function in ("adjoint", "pinv", "baseline"):
        assert torch.equal(getattr(joined, function)(y), getattr(built, function)(y)), function
    assert torch.equal(joined.solve(y, 0.3), built.solve(y, 0.3))
    assert torch.equal(joined.observed_count(y), built.observed_count(y))


class Halves(ops.LinearOperator):
    """Means of neighbouring columns, weighed per image: A alone, neither A^T nor A^+."""

    def __init__(self, image_shape, streams):
        super().__init__(image_shape, streams)
        self.weight = 0.5 + streams.uniform("weight", (1, 1, 1))

    def A(self, x):
        return self.weight * (x[..., ::2] + x[..., 1::2]) / 2


def test_a_linear_operator_needs_only_its_forward_map():
    streams = Streams(0, "test", IDS, dtype=torch.float64)
    operator = Halves((2, 3, 8), streams)
    x, y = draw((3, 2, 3, 8), 1), draw((3, 2, 3, 4), 2)
    torch.testing.assert_close(
        (operator.A(x) * y).sum((1, 2, 3)), (x * operator.adjoint(y)).sum((1, 2, 3)), rtol=1e-12, atol=0
    )
    want = (y / operator.weight).repeat_interleave(2, -1)
    torch.testing.assert_close(operator.pinv(y), want, rtol=0, atol=1e-6)
    torch.testing.assert_close(operator.baseline(y), want, rtol=0, atol=1e-6)
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(operator.pinv(y).square().sum() / 2, y)  # (A^+)^T A^+ y, which MCG and PiGDM need
    torch.testing.assert_close(gradient, 2 * y.detach() / operator.weight**2, rtol=0, atol=1e-6)
    for c in (0.0, 0.3):
        found = ops.solve(operator, y.detach(), c)
        torch.testing.assert_close(found, y.detach() / (operator.weight**2 / 2 + c), rtol=0, atol=1e-5)


def test_a_rank_deficient_operator_has_its_least_squares_answer_of_least_norm():
    class Twice(ops.LinearOperator):
        def A(self, x):
            return torch.cat([x[..., :1], x[..., :1]], -1)

    operator = Twice((1, 1, 3), Streams(0, "test", ["a"], dtype=torch.float64))
    y = torch.tensor([[[[1.0, 3.0]]]], dtype=torch.float64)  # not a measurement of any x
    torch.testing.assert_close(operator.pinv(y), torch.tensor([[[[2.0, 0.0, 0.0]]]], dtype=torch.float64))


def test_a_picture_of_y_is_y_or_refused():
    class Gamma(ops.Operator):
        def A(self, x):
            return x.abs()

    operator = Gamma((1, 4, 4), Streams(0, "test", ["a"]))
    y = torch.ones(1, 1, 4, 4)
    assert operator.baseline(y) is y
    with pytest.raises(ops.Unsupported, match="write baseline"):
        operator.baseline(y[..., :2])


def test_an_operator_without_a_forward_map_says_so():
    class Nothing(ops.LinearOperator):
        pass

    with pytest.raises(TypeError, match=r"Nothing.*A"):
        Nothing((1, 4, 4), Streams(0, "test", ["a"]))


def test_what_cannot_be_joined_is_named():
    class Odd(Halves):
        def __init__(self, image_shape, streams, state):
            super().__init__(image_shape, streams)
            self.state = state

    def odd(*states):
        return [Odd((1, 2, 4), Streams(0, "t", [str(i)]), state) for i, state in enumerate(states)]

    for states in ([torch.zeros(2), torch.ones(2)], ["x", "y"], [torch.tensor(1), torch.tensor(2)]):
        with pytest.raises(TypeError, match=r"Odd\.state differs between images"):
            join(odd(*states), CPU, torch.float32)
    layer = torch.nn.Linear(2, 2)
    nested = join(odd({"a": [torch.zeros(1, 2), 3, layer]}, {"a": [torch.ones(1, 2), 3, layer]}), CPU, torch.float64)
    assert nested.state["a"][0].tolist() == [[0, 0], [1, 1]] and nested.state["a"][1] == 3
    assert nested.state["a"][2].weight.dtype == torch.float64 and layer.weight.dtype == torch.float32
