"""How the mixture prior is fitted to photographs: clusters from scikit-learn, a probabilistic PCA in each."""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from safari_bench.priors.mixture_file import Arrays

__all__ = ["fit"]

#: principal coordinates in which the components are told apart
_CLUSTERED = 64
#: iterations of expectation maximisation
_ITERATIONS = 100


def fit(
    crops: NDArray[np.float32], *, components: int = 8, dimensions: int = 512, rank: int = 240, seed: int = 0
) -> Arrays:
    """Fit a mixture; see mixture_file.py for what is returned.

    1. Pixels are turned to the eigenvectors of their colour covariance, and crops to cosine coefficients, of which the
       `dimensions` of largest variance span the mixture's space.
    2. A full-covariance `GaussianMixture` on their first principal coordinates gives each crop a component.
    3. In each component, mean and leading eigenvectors of the covariance; s_k^2 is the mean variance of the rest, over
       all pixels: the maximum-likelihood solution of probabilistic PCA (Tipping and Bishop, 1999).

    The defaults fill 2 MiB in float16. The rank matters most for small noise, the components for large.

    Args:
        crops: (n, c, h, w) on [-1, 1]; each is taken with its mirror images, left to right and top to bottom.
        components: K.
        dimensions: R.
        rank: r, < R.
        seed: of the clustering's start.
    Raises:
        ValueError: a component holds fewer than rank + 2 crops.
    """
    shape = crops.shape[1:]
    pixels = np.moveaxis(crops, 1, 0).reshape(shape[0], -1)
    colour = np.linalg.eigh(np.cov(pixels))[1][:, ::-1]
    axes = np.sort(np.argsort(-_coefficients(crops, colour).var(0))[:dimensions])
    inside, energy = _mirrored(crops, colour, axes)
    principal = PCA(min(_CLUSTERED, dimensions), svd_solver="covariance_eigh").fit_transform(inside)
    clusters = GaussianMixture(components, reg_covar=1e-3, max_iter=_ITERATIONS, random_state=seed)
    label = clusters.fit_predict(principal)
    count = np.bincount(label, minlength=components)
    if count.min() < rank + 2:
        raise ValueError(
            f"mixture: the smallest of {components} components holds {count.min()} crops, expected at least {rank + 2} "
            f"for rank {rank}; give more crops, or fewer components or ranks"
        )
    fitted = [_component(inside[label == k], energy[label == k], int(np.prod(shape)), rank) for k in range(components)]
    means, factors, sd = (np.stack(parts) for parts in zip(*fitted, strict=True))
    return {
        "shape": np.array(shape, dtype=np.int64),
        "colour": colour.astype(np.float64),
        "axes": axes.astype(np.int32),
        "weights": count / count.sum(),
        "means": means.astype(np.float16),
        "factors": factors.astype(np.float16),
        "sd": sd,
    }


def _coefficients(crops: NDArray[np.float32], colour: NDArray[np.float64]) -> NDArray[np.float32]:
    """Orthonormal cosine coefficients along each direction of colour, (n, c h w)."""
    turned = np.einsum("cd,nchw->ndhw", colour.astype(np.float32), crops)
    coefficients: NDArray[np.float32] = dctn(turned, axes=(2, 3), norm="ortho").reshape(len(crops), -1)
    return coefficients


def _mirrored(
    crops: NDArray[np.float32], colour: NDArray[np.float64], axes: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients on `axes` of the crops and their mirror images, (4 n, R), and the energy of all the others, (4 n,).

    A mirror image has the same coefficients up to sign: that of odd waves changes.
    """
    coefficients = _coefficients(crops, colour)
    inside = coefficients[:, axes].astype(np.float64)
    outside = np.square(np.delete(coefficients, axes, axis=1)).sum(1, dtype=np.float64)
    _, row, column = np.unravel_index(axes, crops.shape[1:])
    flipped = [inside * down * right for down in (1, (-1.0) ** row) for right in (1, (-1.0) ** column)]
    return np.concatenate(flipped), np.tile(outside, 4)


def _component(
    inside: NDArray[np.float64], outside: NDArray[np.float64], pixels: int, rank: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """(m_k, C_k, s_k) of one cluster."""
    pca = PCA(rank, svd_solver="covariance_eigh").fit(inside)
    total = np.square(inside - pca.mean_).sum(1).mean() + outside.mean()
    var = (total - pca.explained_variance_.sum()) / (pixels - rank)
    power = np.maximum(pca.explained_variance_ - var, 0)
    return pca.mean_, pca.components_.T * np.sqrt(power), float(np.sqrt(var))
