"""The inner problems of samplers: conjugate gradients against dense solutions, and against the SVD route."""

import functools
import warnings

import numpy as np
import pytest
import torch
from dense_oracles import CASES, built, draw, streams

from safari_bench.operators import GaussianBlur, LinearOperator, SVDOperator, conjugate_gradients, prox, solve, solvers
from safari_bench.operators.solvers import ACCURACY

NAMES = list(CASES)
#: where 500 steps from 0 reach A^+ y: gains that vanish or stay above a hundredth of the largest
WELL_CONDITIONED = [
    "denoising",
    "inpaint_random",
    "colorization",
    "walsh_half",
    "bicubic_x4",
    "avgpool_x4",
    "motion_one",
]


class Hidden(LinearOperator):
    """A linear operator that tells nothing of its SVD."""

    def __init__(self, operator: SVDOperator) -> None:
        self.image_shape, self.batch = operator.image_shape, operator.batch
        self.device, self.dtype = operator.device, operator.dtype
        self.A, self.adjoint, self.pinv = operator.A, operator.adjoint, operator.pinv
        self.image_like, self.baseline = operator.image_like, operator.baseline

    def A(self, x):
        """Replaced by the operator's own."""

    adjoint = pinv = A


def pair(name: str, dtype: torch.dtype = torch.float64):
    operator = built(name)[0] if dtype == torch.float64 else CASES[name].build(dtype)
    x = draw((1, *operator.image_shape), 1, dtype)
    return operator, Hidden(operator), x, operator.A(x) + 0.05 * draw(operator.A(x).shape, 2, dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("c", "dtype"),
    [(c, torch.float64) for c in (1.8e-7, 1e-5, 1e-3, 0.05**2, 1.0)]  # DiffPIR's rho begins at 1.8e-7
    + [(c, torch.float32) for c in (1e-3, 0.05**2, 1.0)],
)
def test_both_routes_agree(name, c, dtype):
    operator, hidden, x, y = pair(name, dtype)
    assert not isinstance(hidden, SVDOperator)
    guess = draw(x.shape, 3, dtype)
    torch.testing.assert_close(prox(hidden, y, guess, c), prox(operator, y, guess, c), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("c", [1e-3, 0.05**2, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_both_routes_solve(name, c, dtype):
    operator, hidden, _, y = pair(name, dtype)
    exact, u = solve(operator, y, c), solve(hidden, y, c)
    assert (u - exact).abs().max() < 1e-4 * max(1, exact.abs().max())
    torch.testing.assert_close(operator.adjoint(u), operator.adjoint(exact), rtol=0, atol=1e-4)


def test_the_accuracy_asked_for_is_reached_and_not_much_more():
    """The bound of the error is one, and tight enough not to waste steps; with one damping per image."""
    operator = GaussianBlur((1, 12, 12), streams(), taps=7, std=1.5, boundary="reflect")
    x, guess = draw((3, 1, 12, 12), 1), draw((3, 1, 12, 12), 3)
    y, rho = operator.A(x) + 0.05 * draw(x.shape, 2), torch.tensor([1e-6, 1e-4, 1e-2], dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = prox(Hidden(operator), y, guess, rho)
    errors = (found - prox(operator, y, guess, rho)).square().flatten(1).mean(1).sqrt()
    assert (errors < ACCURACY).all()
    assert (errors > 0.05 * ACCURACY).all()
    assert torch.equal(found, prox(Hidden(operator), y, guess, rho))
    for i in range(3):
        alone = prox(Hidden(operator), y[i : i + 1], guess[i : i + 1], rho[i : i + 1])
        torch.testing.assert_close(alone[0], found[i], rtol=0, atol=1e-9)


def test_a_warning_says_where_the_accuracy_cannot_be_had(monkeypatch):
    blur = functools.partial(GaussianBlur, (1, 12, 12), taps=7, std=1.5, boundary="reflect")
    y = draw((1, 1, 12, 12), 2)
    with pytest.warns(UserWarning, match="off by more than 0.0001.*float32.*precision=fp64"):
        solve(Hidden(blur(streams(dtype=torch.float32))), y.float(), 1e-6)
    monkeypatch.setattr(solvers, "MOST", 20)
    with pytest.warns(UserWarning, match="Hidden.*20 steps"):
        solve(Hidden(blur(streams())), y, 1e-6)


def test_an_image_that_is_not_finite_stops_at_once_and_alone():
    operator = Hidden(built("bicubic_x4")[0])
    r = draw((2, *operator.A(draw((1, *operator.image_shape), 1)).shape[1:]), 2)
    alone, calls, A = solve(operator, r[1:], 0.1), [], operator.A
    r[0, 0, 0, 0] = torch.nan
    operator.A = lambda x: (calls.append(1), A(x))[1]
    u = solve(operator, r, 0.1)
    assert torch.isnan(u[0]).any()
    torch.testing.assert_close(u[1:], alone, rtol=0, atol=1e-9)
    assert len(calls) < 100


@pytest.mark.parametrize("c", [0.0, 0.01])
def test_solutions_are_differentiable_without_keeping_their_steps(c):
    """By the rule for a symmetric inverse: the gradient of <w, M^{-1} r> is M^{-1} w; and again, of its square."""
    operator, hidden, _, y = pair("bicubic_x4")
    w, r = draw(y.shape, 5), y.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((w * solve(hidden, r, c)).sum(), r)
    torch.testing.assert_close(gradient, solve(operator, w, c), rtol=0, atol=1e-4)
    (first,) = torch.autograd.grad(solve(hidden, r, c).square().sum(), r, create_graph=True)
    (second,) = torch.autograd.grad((w * first).sum(), r)
    torch.testing.assert_close(second, 2 * solve(operator, solve(operator, w, c), c), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_against_dense_solutions(name):
    operator, dense = built(name)
    m, n = dense.shape
    _, hidden, x, y = pair(name)
    vx, vy, c = x.numpy().ravel(), y.numpy().ravel(), 0.01
    u = np.linalg.solve(dense @ dense.T + c * np.eye(m), vy)
    p = np.linalg.solve(dense.T @ dense + c * np.eye(n), dense.T @ vy + c * vx)
    for route in (operator, hidden):
        assert np.abs(solve(route, y, c).numpy().ravel() - u).max() < 1e-5 * max(1, np.abs(u).max())
        assert np.abs(prox(route, y, x, c).numpy().ravel() - p).max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_without_damping_the_svd_gives_the_pseudo_inverse(name):
    operator, dense = built(name)
    y, x = pair(name)[3], draw((1, *operator.image_shape), 3)
    inverse = np.linalg.pinv(dense, rcond=operator.rtol)
    vy, vx = y.numpy().ravel(), x.numpy().ravel()
    back = operator.adjoint(solve(operator, y, 0.0)).numpy().ravel()
    scale = np.abs(inverse @ vy).max()
    assert np.abs(back - inverse @ vy).max() < 1e-6 * scale
    nearest = vx + inverse @ (vy - dense @ vx)
    for route in (operator, Hidden(operator)):
        assert np.abs(prox(route, y, x, 0.0).numpy().ravel() - nearest).max() < 1e-6 * scale


@pytest.mark.parametrize("name", WELL_CONDITIONED)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_without_damping_both_routes_agree(name, dtype):
    """y has a part that A cannot make (noise in holes, all of it at random elsewhere), which neither route may see."""
    operator, hidden, x, _ = pair(name, dtype)
    y = draw(operator.A(x).shape, 2, dtype)
    torch.testing.assert_close(solve(hidden, y, 0.0), solve(operator, y, 0.0), rtol=0, atol=1e-4)
    no_gradient = Hidden(operator)  # then by conjugate gradients
    no_gradient.pinv = torch.no_grad()(operator.pinv)
    torch.testing.assert_close(solve(no_gradient, y, 0.0), solve(operator, y, 0.0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WELL_CONDITIONED])
def test_without_damping_an_ill_conditioned_operator_is_inverted_as_its_pinv_does(name):
    operator, hidden, _, y = pair(name)
    exact = solve(operator, y, 0.0)
    assert (solve(hidden, y, 0.0) - exact).abs().max() < 1e-6 * exact.abs().max()


@pytest.mark.parametrize("c", [0.0, 0.3])
def test_no_damping_is_the_limit_of_little(c):
    operator, hidden, x, y = pair("bicubic_x4")
    for route in (operator, hidden):
        near = prox(route, y, x, c + 1e-9)
        torch.testing.assert_close(near, prox(route, y, x, c), rtol=0, atol=1e-6)


@pytest.mark.parametrize("c", [-1e-3, torch.tensor([0.0]), torch.tensor([-1.0])])
def test_damping_must_be_a_variance(c):
    operator, hidden, x, y = pair("denoising")
    for route in (operator, hidden):
        with pytest.raises(ValueError, match=r"expected a number >= 0"):
            solve(route, y, c)
        with pytest.raises(ValueError, match=r"expected a number >= 0"):
            prox(route, y, x, c)


def spd(n: int, condition: float, seed: int = 0) -> torch.Tensor:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    return torch.from_numpy(q @ np.diag(np.geomspace(1, condition, n)) @ q.T)


def test_conjugate_gradients_end_in_as_many_steps_as_there_are_eigenvalues():
    M, b = spd(5, 10), draw((2, 5), 1)
    exact = torch.linalg.solve(M, b.T).T
    errors = [(conjugate_gradients(lambda u: u @ M, b, iterations=k, rtol=0.0) - exact).abs().max() for k in (1, 3, 5)]
    assert errors[0] > 1e-3 > 1e-6 > errors[2]
    # the method's optimality: no other vector of the Krylov space is nearer in the energy norm
    u = conjugate_gradients(lambda u: u @ M, b, iterations=2, rtol=0.0)
    residual = b - u @ M
    for direction in (b, b @ M):
        assert ((residual * direction).sum(1).abs() < 1e-9 * direction.norm(dim=1) * b.norm(dim=1)).all()


def test_every_image_has_its_own_steps_and_stops_on_its_own():
    """Images of unlike scale, conditioning and difficulty; alone and together they agree to the last bit."""
    matrices = torch.stack([spd(12, 1), spd(12, 1e3, 1), spd(12, 10, 2), spd(12, 10, 2)])
    b = draw((4, 12), 1) * torch.tensor([[1.0], [1e4], [1e-6], [0.0]], dtype=torch.float64)
    counts = []

    def solved(images, iterations=50, rtol=0.05):
        calls = 0

        def apply(u):
            nonlocal calls
            calls += 1
            return (u[:, None] * matrices[images]).sum(-1)

        u = conjugate_gradients(apply, b[images], iterations=iterations, rtol=rtol)
        counts.append(calls)
        return u

    together = solved([0, 1, 2, 3])
    for i in (0, 1, 2, 3):
        assert torch.equal(solved([i])[0], together[i])
    assert counts[0] == max(counts[1:])
    assert counts[1] == 1  # the identity
    assert counts[4] == 0  # nothing to do
    assert (together[3] == 0).all()
    residual = b - (together[:, None] * matrices).sum(-1)
    assert (residual.norm(dim=1) <= 0.0501 * b.norm(dim=1)).all()
    assert residual[2].norm() > 1e-4 * b[2].norm()  # it did stop
    assert torch.equal(solved([3, 2, 1, 0]).flip(0), together)


def test_conjugate_gradients_on_images_of_a_batch():
    """(b, c, h, w) right-hand sides, one matrix per image."""
    b = draw((2, 3, 2, 2), 1)
    weight = torch.tensor([2.0, 5.0], dtype=torch.float64)[:, None, None, None]
    torch.testing.assert_close(conjugate_gradients(lambda u: weight * u, b), b / weight)


def test_no_division_by_zero():
    """A zero right-hand side, a singular matrix that has nothing to say about b, and one that is not positive."""
    zero = conjugate_gradients(lambda u: 2 * u, torch.zeros(2, 3), iterations=3, rtol=0.0)
    assert torch.equal(zero, torch.zeros(2, 3))
    b = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    singular = conjugate_gradients(lambda u: u * torch.tensor([[0.0, 1.0]]), b, iterations=10)
    assert torch.isfinite(singular).all()
    assert torch.equal(singular[0], torch.zeros(2))
    indefinite = conjugate_gradients(lambda u: u * torch.tensor([[-1.0, -1.0]]), b, iterations=10)
    assert torch.equal(indefinite, torch.zeros(2, 2))
    exact = conjugate_gradients(lambda u: 2 * u, b, iterations=10, rtol=0.0)  # residual 0 after one step
    assert torch.equal(exact, b / 2)


def test_what_is_not_finite_shows_and_stays_in_its_image():
    b = torch.tensor([[1.0, torch.nan], [1.0, 2.0]])
    u = conjugate_gradients(lambda u: 2 * u, b, iterations=4)
    assert torch.isnan(u[0]).any()
    assert torch.equal(u[1], b[1] / 2)


def test_conjugate_gradients_are_differentiable():
    M, b = spd(5, 10), draw((1, 5), 1).requires_grad_()
    u = conjugate_gradients(lambda u: u @ M, b, iterations=20, rtol=1e-12)
    (gradient,) = torch.autograd.grad(u[:, 0].sum(), b)
    torch.testing.assert_close(gradient, torch.linalg.inv(M)[:1], rtol=0, atol=1e-6)
