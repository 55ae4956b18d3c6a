"""Phase retrieval and high dynamic range against NumPy; gradients everywhere."""

import numpy as np
import pytest
import torch
from dense_oracles import draw, streams

from safari_bench.operators import HighDynamicRange, LinearOperator, PhaseRetrieval, Unsupported


def magnitudes(x: np.ndarray, pad_h: int, pad_w: int) -> np.ndarray:
    padded = np.pad((x + 1) / 2, [(0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)])
    centred = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(padded, axes=(2, 3))), axes=(2, 3))
    return np.abs(centred) / np.sqrt(padded.shape[2] * padded.shape[3])


@pytest.mark.parametrize(("oversample", "pad_h", "pad_w"), [(2.0, 4, 6), (1.0, 2, 3), (0.0, 0, 0), (0.5, 1, 1)])
def test_phase_retrieval_is_the_magnitude_of_the_padded_transform(oversample: float, pad_h: int, pad_w: int) -> None:
    op = PhaseRetrieval((3, 16, 24), streams(), oversample=oversample)
    x = draw((2, 3, 16, 24), 1)
    np.testing.assert_allclose(op.A(x), magnitudes(x.numpy(), pad_h, pad_w), atol=1e-12)


def test_phase_retrieval_at_paper_scale() -> None:
    op = PhaseRetrieval((1, 256, 256), streams())
    y = op.A(torch.ones(1, 1, 256, 256, dtype=torch.float64))
    assert y.shape == (1, 1, 384, 384)
    assert y[0, 0].argmax() == 192 * 384 + 192
    assert float(y[0, 0, 192, 192]) == pytest.approx(256**2 / 384)


def test_phase_retrieval_gradient() -> None:
    op = PhaseRetrieval((1, 4, 8), streams())
    assert torch.autograd.gradcheck(op.A, (draw((1, 1, 4, 8), 1).requires_grad_(),))


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.5, 1.0])
def test_gradients_are_finite_where_magnitudes_vanish_and_sensors_saturate(value: float) -> None:
    for op in (PhaseRetrieval((3, 16, 24), streams()), HighDynamicRange((3, 16, 24), streams())):
        x = torch.full((1, 3, 16, 24), value, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(op.A(x).sum(), x)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("scale", [2.0, 1.0, 0.5, 3.5])
def test_high_dynamic_range_clips(scale: float) -> None:
    op = HighDynamicRange((3, 16, 24), streams(), scale=scale)
    x = draw((2, 3, 16, 24), 1).clamp(-1, 1)
    y = op.A(x)
    np.testing.assert_array_equal(y, np.clip(scale * x.numpy(), -1, 1))
    kept = (scale * x).abs() <= 1
    np.testing.assert_allclose(op.baseline(y)[kept], x[kept], atol=1e-15)


def test_what_non_linear_operators_declare() -> None:
    phase, hdr = PhaseRetrieval((3, 16, 24), streams()), HighDynamicRange((3, 16, 24), streams())
    assert not isinstance(phase, LinearOperator)
    assert not isinstance(hdr, LinearOperator)
    assert (phase.image_like, hdr.image_like) == (False, True)
    with pytest.raises(Unsupported, match="magnitudes"):
        phase.baseline(phase.A(draw((1, 3, 16, 24))))
