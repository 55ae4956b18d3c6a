"""From a task's flat config values to its noise law."""

from dataclasses import fields
from typing import Any, cast

from safari_bench.operators.coding import Jpeg, Quantization
from safari_bench.operators.noise import Gaussian, Noise, NoNoise, Poisson, SaltPepper, Speckle

__all__ = ["LAWS", "make_noise"]

LAWS: dict[str, type[Noise]] = {
    "gaussian": Gaussian,
    "poisson": Poisson,
    "speckle": Speckle,
    "salt_pepper": SaltPepper,
    "jpeg": Jpeg,
    "quantization": Quantization,
    "none": NoNoise,
}


def make_noise(
    law: str,
    *,
    sigma: float | None = None,
    sigma_range: str | None = None,
    rate: float | None = None,
    fraction: float | None = None,
    quality: int | None = None,
    bits: int | None = None,
) -> Noise:
    """The law of that name in LAWS, made of those of the values that it takes; the others are ignored.

    Raises:
        ValueError: the law is unknown, or a value it takes is missing or out of range.
    """
    if law not in LAWS:
        raise ValueError(f"Noise: got law {law!r}; expected one of {', '.join(LAWS)}.")
    given = dict(sigma=sigma, range=sigma_range, rate=rate, fraction=fraction, quality=quality, bits=bits)
    taken = {field.name: given[field.name] for field in fields(cast(Any, LAWS[law]))}
    missing = ["sigma_range" if name == "range" else name for name, value in taken.items() if value is None]
    if missing:
        raise ValueError(f"Noise: law {law} needs {' and '.join(missing)}, got none; set them in the task's config.")
    return LAWS[law](**taken)
