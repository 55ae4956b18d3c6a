"""From config values to noise laws, and the values that are refused."""

import math
from typing import Any

import pytest

from safari_bench.operators import (
    LAWS,
    Gaussian,
    Jpeg,
    Noise,
    NoNoise,
    Poisson,
    Quantization,
    SaltPepper,
    Speckle,
    make_noise,
)

MADE: list[tuple[str, dict[str, Any], Noise]] = [
    ("gaussian", {"sigma": 0.05, "sigma_range": "zero_one"}, Gaussian(0.05, "zero_one")),
    ("speckle", {"sigma": 0.05, "sigma_range": "minus_one_one"}, Speckle(0.05, "minus_one_one")),
    ("poisson", {"rate": 2.0}, Poisson(2.0)),
    ("salt_pepper", {"fraction": 0.1}, SaltPepper(0.1)),
    ("jpeg", {"quality": 20}, Jpeg(20)),
    ("quantization", {"bits": 4}, Quantization(4)),
    ("none", {}, NoNoise()),
]


@pytest.mark.parametrize(("law", "values", "want"), MADE)
def test_config_values_make_the_law(law: str, values: dict[str, Any], want: Noise) -> None:
    everything = {"sigma": 0.3, "sigma_range": "zero_one", "rate": 1.0, "fraction": 0.5, "quality": 50, "bits": 8}
    assert make_noise(law, **values) == make_noise(law, **(everything | values)) == want
    if values:
        with pytest.raises(ValueError, match=f"{law} needs {' and '.join(values)}"):
            make_noise(law)


def test_every_law_is_made() -> None:
    assert {law for law, _, _ in MADE} == set(LAWS)
    with pytest.raises(ValueError, match=r"'gauss'; expected one of gaussian, poisson.*none"):
        make_noise("gauss")


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("gaussian", {"sigma": -0.1, "sigma_range": "zero_one"}, "sigma -0.1; expected a number in"),
    ("gaussian", {"sigma": math.nan, "sigma_range": "zero_one"}, "sigma nan"),
    ("gaussian", {"sigma": math.inf, "sigma_range": "zero_one"}, "sigma inf"),
    ("speckle", {"sigma": -0.1, "sigma_range": "zero_one"}, "Speckle noise: got sigma -0.1"),
    ("poisson", {"rate": 0.0}, "rate 0.0"),
    ("poisson", {"rate": math.nan}, "rate nan"),
    ("salt_pepper", {"fraction": 1.5}, "fraction 1.5"),
    ("salt_pepper", {"fraction": math.nan}, "fraction nan"),
    ("jpeg", {"quality": 0}, "quality 0; expected"),
    ("quantization", {"bits": 0}, "bits 0; expected"),
    ("quantization", {"bits": 17}, "bits 17; expected"),
]


@pytest.mark.parametrize(("law", "values", "message"), REFUSED)
def test_values_out_of_range_are_refused(law: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_noise(law, **values)


def test_unknown_range_is_refused() -> None:
    """By the law itself; the type checker that this test run puts around its constructor would be faster."""
    law = object.__new__(Gaussian)
    vars(law).update(sigma=0.1, range="bytes")
    with pytest.raises(ValueError, match="range 'bytes'; expected one of minus_one_one, zero_one"):
        law.__post_init__()
