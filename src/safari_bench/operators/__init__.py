"""Degradations y = A x + n: forward models, their adjoints and decompositions, and the noise laws with their units."""

from safari_bench.operators.blur import AnisotropicBlur, GaussianBlur, UniformBlur
from safari_bench.operators.check import Verdict, check
from safari_bench.operators.coding import Jpeg, Quantization
from safari_bench.operators.colorization import Colorization
from safari_bench.operators.contract import LinearOperator, Operator, SVDOperator, Unsupported
from safari_bench.operators.given import Blur, Inpainting, KernelBlur, Linear, LinearMap, MaskInpainting
from safari_bench.operators.laws import LAWS, make_noise
from safari_bench.operators.masks import BoxInpainting, Denoising, RandomInpainting
from safari_bench.operators.motion import MotionBlur
from safari_bench.operators.noise import Gaussian, Noise, NoNoise, Poisson, Range, SaltPepper, Speckle
from safari_bench.operators.nonlinear import HighDynamicRange, PhaseRetrieval
from safari_bench.operators.resize import AveragePool, BicubicDownsample
from safari_bench.operators.solvers import conjugate_gradients, prox, solve
from safari_bench.operators.walsh import WalshCompressedSensing

__all__ = [
    "LAWS",
    "AnisotropicBlur",
    "AveragePool",
    "BicubicDownsample",
    "Blur",
    "BoxInpainting",
    "Colorization",
    "Denoising",
    "Gaussian",
    "GaussianBlur",
    "HighDynamicRange",
    "Inpainting",
    "Jpeg",
    "KernelBlur",
    "Linear",
    "LinearMap",
    "LinearOperator",
    "MaskInpainting",
    "MotionBlur",
    "NoNoise",
    "Noise",
    "Operator",
    "PhaseRetrieval",
    "Poisson",
    "Quantization",
    "RandomInpainting",
    "Range",
    "SVDOperator",
    "SaltPepper",
    "Speckle",
    "UniformBlur",
    "Unsupported",
    "Verdict",
    "WalshCompressedSensing",
    "check",
    "conjugate_gradients",
    "make_noise",
    "prox",
    "solve",
]
