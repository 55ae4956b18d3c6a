"""Every linear operator against its dense matrix: A, A^T, A^+, SVD, prox, solve, channels, batches, precision."""

import inspect

import numpy as np
import pytest
import torch
from dense_oracles import CASES, built, draw, matrix_of, streams

from safari_bench import operators as ops
from safari_bench.operators import Operator, SVDOperator
from safari_bench.rng import Streams

torch.set_num_threads(1)
NAMES = list(CASES)
#: operators that treat the channels alike and apart.
CHANNELWISE = [name for name in NAMES if CASES[name].shape[0] > 1 and name != "colorization"]
#: operators under which a constant image is the same constant.
CONSTANT = [name for name in NAMES if not name.startswith(("inpaint", "walsh"))]
BATCHED = [
    "inpaint_box",
    "inpaint_random",
    "motion_odd",
    "walsh_half",
    "walsh_blocks",
    "bicubic_x4",
    "gaussian_odd_reflect",
]


def measurement_shape(op: SVDOperator) -> tuple[int, ...]:
    return tuple(op.A(torch.zeros(1, *op.image_shape, dtype=op.dtype)).shape[1:])


def assert_close(got: np.ndarray | torch.Tensor, want: np.ndarray | torch.Tensor, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_forward_is_the_dense_matrix(name: str) -> None:
    op, dense = built(name)
    assert_close(matrix_of(op.A, op.image_shape), dense)


@pytest.mark.parametrize("name", NAMES)
def test_adjoint_is_the_transpose(name: str) -> None:
    op, dense = built(name)
    assert_close(matrix_of(op.adjoint, measurement_shape(op)), dense.T)
    x, y = draw((1, *op.image_shape), 1), draw((1, *measurement_shape(op)), 2)
    assert_close((op.A(x) * y).sum(), (x * op.adjoint(y)).sum(), 1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_of_forward_is_the_adjoint(name: str) -> None:
    op, _ = built(name)
    x, y = draw((1, *op.image_shape), 1).requires_grad_(), draw((1, *measurement_shape(op)), 2)
    (gradient,) = torch.autograd.grad((op.A(x) * y).sum(), x)
    assert_close(gradient, op.adjoint(y))


@pytest.mark.parametrize("name", NAMES)
def test_bases_are_orthogonal(name: str) -> None:
    op, _ = built(name)
    assert_close(matrix_of(lambda x: op.V(op.Vt(x)), op.image_shape), np.eye(int(np.prod(op.image_shape))))
    shape = measurement_shape(op)
    assert_close(matrix_of(lambda y: op.U(op.Ut(y)), shape), np.eye(int(np.prod(shape))))
    x = draw((1, *op.image_shape), 3)
    assert_close(op.Vt(x).abs().square().sum(), x.square().sum())


@pytest.mark.parametrize("name", NAMES)
def test_svd_composes_to_the_dense_matrix(name: str) -> None:
    op, dense = built(name)
    x = draw((1, *op.image_shape), 3)
    assert_close(op.U(op.gains * op.Vt(x)).flatten(), dense @ x.numpy().ravel())
    spectrum = op.gains.expand_as(op.Vt(x)).flatten().numpy()
    want = np.linalg.svd(dense, compute_uv=False)
    assert_close(np.sort(spectrum)[::-1], np.pad(want, (0, len(spectrum) - len(want))))
    assert (spectrum >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_pseudo_inverse(name: str) -> None:
    op, dense = built(name)
    want = np.linalg.pinv(dense, rcond=op.rtol)
    got = matrix_of(op.pinv, measurement_shape(op))
    scale, conditioned = np.linalg.norm(want, 2), not CASES[name].ill_conditioned
    assert_close(got / scale, want / scale, 1e-10 if conditioned else 1e-8)
    assert_close(dense @ got @ dense, dense, 1e-10 if conditioned else 2 * op.rtol)
    assert_close(got @ dense @ got / scale, got / scale, 1e-10 if conditioned else 1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_singular_values_are_the_gains_that_can_be_divided_by(name: str) -> None:
    op, dense = built(name)
    s, gains = op.singular_values, op.gains
    assert s.shape == gains.shape
    assert (s[s > 0] == gains[s > 0]).all()
    x = draw((1, *op.image_shape), 3)
    rank = int((s.expand_as(op.Vt(x)) > 0).sum())
    assert rank == np.linalg.matrix_rank(dense, tol=op.rtol * np.linalg.norm(dense, 2))
    if CASES[name].ill_conditioned:
        assert ((s == 0) & (gains > 1e-9)).any()


def test_rank_tolerance_is_relative_to_each_images_own_gains() -> None:
    op = ops.Denoising((1, 1, 3), streams(("bright", "dark")))
    op.gains = torch.tensor([[1e3, 1e-2, 1e-4], [1.0, 1e-4, 1e-7]], dtype=torch.float64)[:, None, None]
    assert (op.singular_values > 0).flatten(1).tolist() == [[True, True, False], [True, True, False]]
    y = torch.ones(2, 1, 1, 3, dtype=torch.float64)
    assert_close(op.pinv(y).flatten(1), torch.tensor([[1e-3, 1e2, 0], [1, 1e4, 0]]), 1e-8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rho", [0.3, 20.0])
def test_prox_minimises(name: str, rho: float) -> None:
    op, dense = built(name)
    x, y = draw((1, *op.image_shape), 1), draw((1, *measurement_shape(op)), 2)
    want = np.linalg.solve(
        dense.T @ dense + rho * np.eye(dense.shape[1]), dense.T @ y.numpy().ravel() + rho * x.numpy().ravel()
    )
    assert_close(op.prox(y, x, rho).flatten(), want)
    assert_close(op.prox(y, x, torch.tensor([rho], dtype=torch.float64)).flatten(), want)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("c", [0.3, 20.0])
def test_solve_inverts(name: str, c: float) -> None:
    op, dense = built(name)
    r = draw((1, *measurement_shape(op)), 2)
    want = np.linalg.solve(dense @ dense.T + c * np.eye(len(dense)), r.numpy().ravel())
    assert_close(op.solve(r, c).flatten(), want)
    assert_close(op.solve(r, torch.tensor([c], dtype=torch.float64)).flatten(), want)


@pytest.mark.parametrize("name", BATCHED)
def test_prox_and_solve_take_one_number_per_image(name: str) -> None:
    ids = ("a", "b", "c")
    op, numbers = CASES[name].build(ids=ids), torch.tensor([0.1, 1.0, 9.0], dtype=torch.float64)
    x, y = draw((3, *op.image_shape), 1), draw((3, *measurement_shape(CASES[name].build())), 2)
    for i, image in enumerate(ids):
        alone = CASES[name].build(ids=(image,))
        assert_close(op.prox(y, x, numbers)[i], alone.prox(y[i : i + 1], x[i : i + 1], float(numbers[i]))[0])
        assert_close(op.solve(y, numbers)[i], alone.solve(y[i : i + 1], float(numbers[i]))[0])


@pytest.mark.parametrize("name", NAMES)
def test_single_precision(name: str) -> None:
    op, dense = CASES[name].build(torch.float32), built(name)[1]
    x = draw((1, *op.image_shape), 1, torch.float32)
    y = draw((1, *measurement_shape(op)), 2, torch.float32)
    forward, adjoint, prox, solve = op.A(x), op.adjoint(y), op.prox(y, x, 0.5), op.solve(y, 0.5)
    assert {t.dtype for t in (forward, adjoint, prox, solve, op.pinv(y), op.gains)} == {torch.float32}
    vx, vy = x.numpy().ravel().astype(float), y.numpy().ravel().astype(float)
    m, n = dense.shape
    assert_close(forward.flatten(), dense @ vx, 1e-5)
    assert_close(adjoint.flatten(), dense.T @ vy, 1e-5)
    assert_close(prox.flatten(), np.linalg.solve(dense.T @ dense + 0.5 * np.eye(n), dense.T @ vy + 0.5 * vx), 1e-5)
    assert_close(solve.flatten(), np.linalg.solve(dense @ dense.T + 0.5 * np.eye(m), vy), 1e-5)


@pytest.mark.parametrize("name", CHANNELWISE)
def test_channels_are_treated_alike_and_apart(name: str) -> None:
    op, _ = built(name)
    x = draw((2, *op.image_shape), 1)
    y = op.A(x)
    order = torch.arange(op.image_shape[0]).roll(1)
    for function, argument, value in ((op.A, x, y), (op.adjoint, y, op.adjoint(y)), (op.pinv, y, op.pinv(y))):
        assert_close(function(argument[:, order]), value[:, order])
    changed = x.clone()
    changed[:, 0] += 1
    assert_close(op.A(changed)[:, 1:], y[:, 1:])
    assert not torch.allclose(op.A(changed)[:, 0], y[:, 0])


def test_colorization_sees_no_order_of_channels() -> None:
    op, _ = built("colorization")
    x = draw((2, *op.image_shape), 1)
    assert_close(op.A(x), op.A(x[:, [2, 0, 1]]))
    assert_close(op.baseline(op.A(x)), x.mean(1, keepdim=True).expand_as(x))


@pytest.mark.parametrize("name", CONSTANT)
def test_constant_image_maps_to_itself(name: str) -> None:
    op, _ = built(name)
    y = op.A(torch.full((1, *op.image_shape), 0.7, dtype=torch.float64))
    assert_close(y, torch.full_like(y, 0.7), 1e-12)
    assert_close(op.baseline(y), torch.full((1, *op.image_shape), 0.7, dtype=torch.float64), 1e-12)


@pytest.mark.parametrize("name", BATCHED)
def test_images_do_not_depend_on_their_batch(name: str) -> None:
    case = CASES[name]
    ids = ("a", "b", "c", "d")
    op, turned = case.build(ids=ids), case.build(ids=ids[::-1])
    x = draw((4, *case.shape), 1)
    y = op.A(x)
    assert_close(turned.A(x.flip(0)).flip(0), y, 1e-12)
    for i, image in enumerate(ids):
        alone = case.build(ids=(image,))
        assert_close(alone.A(x[i : i + 1])[0], y[i], 1e-12)
        assert_close(alone.adjoint(y[i : i + 1])[0], op.adjoint(y)[i], 1e-12)
        assert_close(alone.pinv(y[i : i + 1])[0], op.pinv(y)[i], 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_baseline_is_an_image(name: str) -> None:
    op, _ = built(name)
    x = draw((1, *op.image_shape), 1)
    assert op.baseline(op.A(x)).shape == x.shape
    assert op.image_like is not name.startswith("walsh")


def test_every_operator_can_be_called_by_a_config() -> None:
    """image_shape and streams by position, everything else by keyword, so that a partial config completes it."""
    classes = [
        c for c in vars(ops).values() if inspect.isclass(c) and issubclass(c, Operator) and not inspect.isabstract(c)
    ]
    assert len(classes) == 16
    for operator in classes:
        first, second, *rest = inspect.signature(operator).parameters.values()
        assert (first.name, second.name) == ("image_shape", "streams")
        assert all(p.kind is p.KEYWORD_ONLY for p in rest), operator


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_lives_on_the_device_of_the_streams(name: str) -> None:
    """torch's meta device stands in for a GPU: mixing it with the CPU raises."""
    case = CASES[name]
    op = case.operator(case.shape, Streams(0, "oracle", ("a", "b"), device="meta"), **case.keywords)
    x = torch.zeros(2, *case.shape, device="meta")
    y = op.A(x)
    assert y.device.type == "meta"
    for image in (op.adjoint(y), op.pinv(y), op.prox(y, x, 0.5), op.baseline(y)):
        assert (image.device.type, image.shape) == ("meta", x.shape)
    assert op.solve(y, torch.ones(2, device="meta")).shape == y.shape
