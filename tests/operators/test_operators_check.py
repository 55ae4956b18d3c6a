"""`check` passes every task that ships, and names what is wrong with operators that are wrong."""

import functools

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from safari_bench import operators as ops
from safari_bench.cli.schema import register, root
from safari_bench.operators.check import check

#: but for those that want a file of the user's, see test_operators_given.py
TASKS = sorted(p.stem for p in (root() / "conf" / "task").glob("*.yaml") if "???" not in p.read_text())


def node_of(name: str):
    node = OmegaConf.load(root() / "conf" / "task" / f"{name}.yaml")
    for base in node.pop("defaults", []):
        if base != "_self_":
            node = OmegaConf.merge(node_of(base), node)
    return node


@pytest.mark.parametrize("task", TASKS)
def test_every_task_that_ships_holds(task):
    """A new file of conf/task is tested by being there."""
    register()
    whole = OmegaConf.create({"dataset": {"size": 64}, "task": node_of(task)})
    verdicts = check(instantiate(whole.task.operator, _partial_=True, _convert_="all"), (3, 64, 64))
    assert [str(v) for v in verdicts if v.holds is False] == []
    assert sum(v.holds is True for v in verdicts) >= 6


class Rows(ops.LinearOperator):
    """Every other row; right in everything."""

    def A(self, x):
        return x[..., ::2, :]


class Shrunk(Rows):
    def A(self, x):
        return super().A(x).mean(0)


class InPlace(Rows):
    def A(self, x):
        return x.mul_(0.5)[..., ::2, :]


class Single(Rows):
    def A(self, x):
        return super().A(x).float()


class OnTheCpu(Rows):
    def A(self, x):
        return super().A(x) * torch.ones(2, 1)[:1]


class Random(Rows):
    def A(self, x):
        return super().A(x) * torch.rand(1, dtype=x.dtype, device=x.device)


class Coupled(Rows):
    def A(self, x):
        return super().A(x - x.mean(0, keepdim=True))


class Unbatched(Rows):
    def __init__(self, image_shape, streams):
        super().__init__(image_shape, streams)
        self.gain = (
            streams.uniform("gain", (1, 1, 1)).squeeze() if len(streams) == 1 else streams.uniform("gain", (1, 1, 1))
        )

    def A(self, x):
        return self.gain * super().A(x)


class Detached(Rows):
    def A(self, x):
        return super().A(x).detach()


class Affine(Rows):
    def A(self, x):
        return super().A(x) + 1


class WrongAdjoint(Rows):
    def adjoint(self, y):
        return y.repeat_interleave(2, -2)


class WrongInverse(Rows):
    def pinv(self, y):
        return 2 * self.adjoint(y)


class WrongPicture(Rows):
    def baseline(self, y):
        return y


class WrongMask(Rows):
    observed = property(lambda self: torch.tensor(0.0, dtype=self.dtype))


class WrongBasis(ops.SVDOperator):
    def __init__(self, image_shape, streams):
        super().__init__(image_shape, streams)
        self.gains = torch.ones(1, *image_shape, dtype=self.dtype, device=self.device)

    def Vt(self, x):
        return 2 * x

    def V(self, z):
        return z / 2

    def Ut(self, y):
        return 2 * y

    def U(self, z):
        return z / 2


WRONG = {
    Shrunk: ("shape", "batch dimension"),
    InPlace: ("shape", "changes its input"),
    Single: ("dtype", "streams.dtype"),
    OnTheCpu: ("device", "streams.device"),
    Random: ("repeatable", "draw what is random from streams"),
    Coupled: ("batch", "every image by itself"),
    Unbatched: ("batch", "Unbatched.gain differs between images"),
    Detached: ("gradient", "no gradient"),
    Affine: ("linear", "derive from Operator"),
    WrongAdjoint: ("adjoint", "remove adjoint"),
    WrongInverse: ("pseudo-inverse", "remove pinv"),
    WrongPicture: ("baseline", "expected"),
    WrongMask: ("observed", "multiply"),
    WrongBasis: ("SVD", "unit norm"),
}


def test_an_operator_that_is_right_holds():
    verdicts = {v.name: v for v in check(Rows, (3, 8, 8))}
    assert {name for name, v in verdicts.items() if v.holds is None} == {"observed", "SVD"}
    assert all(v.holds is not False for v in verdicts.values())
    assert str(verdicts["adjoint"]).startswith("ok ") and "<A x, y> = <x, A^T y>" in str(verdicts["adjoint"])


@pytest.mark.parametrize("wrong", WRONG)
def test_an_operator_that_is_wrong_is_told_what_is(wrong):
    name, said = WRONG[wrong]
    verdicts = {v.name: v for v in check(wrong, (3, 8, 8))}
    assert verdicts[name].holds is False and said in verdicts[name].detail
    assert str(verdicts[name]).startswith("FAILED")


def test_what_cannot_be_built_is_raised():
    with pytest.raises(ValueError, match="divisible by 4"):
        check(functools.partial(ops.AveragePool, factor=4), (3, 9, 9))
    with pytest.raises(TypeError, match="expected an Operator"):
        check(lambda shape, streams: 3, (3, 8, 8))
    with pytest.raises(TypeError, match="abstract"):
        check(ops.LinearOperator, (3, 8, 8))
