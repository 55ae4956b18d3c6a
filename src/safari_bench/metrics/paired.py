"""Full-reference scores taken from published libraries: PSNR, SSIM, HaarPSI, GMSD.

Each class states its protocol: what is fixed, the library that computes it, and the version it was checked with.
piq and torchmetrics are imported at the first score: they bring torchvision and half of torch's compiler with them,
which a command that scores nothing need not wait for.
"""

from functools import partial

import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from safari_bench.metrics.contract import unit_pair
from safari_bench.shapes import Image, PerImage

__all__ = ["Gmsd", "HaarPsi", "Psnr", "Saturated", "Ssim"]

_ssim_of_wang = partial(
    structural_similarity,
    data_range=1.0,
    channel_axis=0,
    gaussian_weights=True,
    sigma=1.5,
    use_sample_covariance=False,
    K1=0.01,
    K2=0.03,
)


class Psnr:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / MSE), the MSE taken over all channels and pixels of one image.

    Protocol: RGB on [0, 1], data_range 1, one MSE per image (not one per batch, which is torchmetrics' default). Equal
    images score inf. Library: torchmetrics 1.9.0.
    """

    name = "psnr"
    higher_is_better = True

    def __call__(self, x_hat: Image, x: Image) -> PerImage:
        """dB, (b,)."""
        from torchmetrics.functional.image import peak_signal_noise_ratio

        restored, reference = unit_pair(x_hat, x)
        score: Tensor = peak_signal_noise_ratio(restored, reference, data_range=1.0, reduction="none", dim=(1, 2, 3))
        return score


class Ssim:
    """Structural similarity of Wang et al., IEEE TIP 2004, averaged over channels and pixels.

    Protocol: RGB on [0, 1], data_range 1, 11 x 11 Gaussian window of standard deviation 1.5, K1 0.01, K2 0.03,
    population covariance, each channel on its own, no downsampling; only windows that lie inside the image count, as
    in the paper. Sides of 11 px or more. Library: scikit-image 0.26.0, on the CPU. torchmetrics 1.9.0 computes the same
    map, in float64 some fifty times slower, but its mean adds 5 px of border where the window sees reflected pixels
    (0.008 apart on a photograph of 256 px with noise of standard deviation 0.1 on [-1, 1]).
    """

    name = "ssim"
    higher_is_better = True

    def __call__(self, x_hat: Image, x: Image) -> PerImage:
        """In [-1, 1], (b,)."""
        restored, reference = unit_pair(x_hat, x, min_side=11)
        pairs = zip(restored.numpy(force=True), reference.numpy(force=True), strict=True)
        return torch.tensor([_ssim_of_wang(*pair) for pair in pairs], dtype=torch.float64, device=x_hat.device)


class HaarPsi:
    """Haar wavelet-based perceptual similarity index of Reisenhofer et al., 2018, in [0, 1]; 1 for equal images.

    Protocol: RGB (or grey) on [0, 1], data_range 1, YIQ, 2 x 2 mean before the wavelets, 3 scales, C = 30,
    alpha = 4.2. Sides of 16 px or more. Library: piq 0.8.0.
    """

    name = "haarpsi"
    higher_is_better = True

    def __call__(self, x_hat: Image, x: Image) -> PerImage:
        """In [0, 1], (b,)."""
        from piq import haarpsi

        restored, reference = unit_pair(x_hat, x, min_side=16, channels=(1, 3))
        score: Tensor = haarpsi(restored, reference, reduction="none", data_range=1.0, scales=3, c=30.0, alpha=4.2)
        return score.clamp(max=1.0)  # two black images weigh nothing, for which piq answers inf


class Gmsd:
    """Gradient magnitude similarity deviation of Xue et al., IEEE TIP 2014; 0 for equal images, larger is worse.

    Protocol: luminance of RGB (or grey) on [0, 1], data_range 1, 2 x 2 mean, Prewitt gradients with zero padding,
    T = 170 / 255^2. Sides of 6 px or more, so that one gradient window lies inside the image. Library: piq 0.8.0.
    """

    name = "gmsd"
    higher_is_better = False

    def __call__(self, x_hat: Image, x: Image) -> PerImage:
        """0 or more, (b,)."""
        from piq import gmsd

        restored, reference = unit_pair(x_hat, x, min_side=6, channels=(1, 3))
        score: Tensor = gmsd(restored, reference, reduction="none", data_range=1.0, t=170 / 255**2)
        return score


class Saturated:
    """Share of the values, over channels and pixels, that are black or white in x_hat and are not in x; 0 is best.

    Large where guidance diverges and clipping holds what is left: a box filled with white.
    """

    name = "saturated"
    higher_is_better = False

    def __call__(self, x_hat: Image, x: Image) -> PerImage:
        """Share in [0, 1], (b,)."""
        restored, reference = unit_pair(x_hat, x)
        at_an_end = [(pixels <= 0) | (pixels >= 1) for pixels in (restored, reference)]
        return (at_an_end[0] & ~at_an_end[1]).double().flatten(1).mean(1)
