"""The card's measurements against closed forms and pictures with known spectra."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from recipes.card import LEVELS, cbm3d, denoising, samples, spectrum, write
from recipes.card.gate import gate
from recipes.card.measure import mottle
from safari_bench.data import Leaves, Photographs, Photos
from safari_bench.diffusion import EpsDenoiser, Schedule, from_x0
from safari_bench.priors import gaussian

CPU = torch.device("cpu")


class Lazy:
    """A prior whose estimate is the noisy image itself: PSNR is that of the noise."""

    schedule = Schedule()

    def predict(self, x_t, t, *, clip=False):
        return from_x0(self.schedule, x_t, x_t / math.sqrt(self.schedule.abar(t)), t, None, clip)


def test_a_prior_that_does_nothing_has_the_psnr_of_the_noise():
    frame = denoising({"lazy": Lazy()}, Photos("tuning", 64, 2), 0, CPU, 2)
    assert list(frame.level.unique()) == list(LEVELS)
    low = frame[(frame.level == 0.1) & (frame.method == "lazy")]
    for row in low.itertuples():
        # noise of sigma_t on [-1, 1] is sigma_t / 2 on [0, 1]; clipping takes a little of it away
        assert 0 < row.psnr + 20 * math.log10(row.sigma_t / 2) < 1.5
        assert row.sigma_t == pytest.approx(0.1, rel=0.05)


def test_methods_see_the_same_noise_and_batches_change_nothing():
    dataset = Leaves("tuning", 64, 3)
    priors = {"one": gaussian.load(), "two": gaussian.load()}
    frame = denoising(priors, dataset, 0, CPU, 2)
    one, two = (frame[frame.method == name].psnr.to_numpy() for name in priors)
    np.testing.assert_array_equal(one, two)
    again = denoising(priors, dataset, 0, CPU, 3)
    merged = frame.merge(again, on=["image_id", "level", "method"])
    np.testing.assert_allclose(merged.psnr_x, merged.psnr_y, atol=1e-4)
    assert (frame[frame.method == "nl_means"].level <= 0.2).all()
    nl_means = frame[(frame.method == "nl_means") & (frame.level == 0.1)].psnr.mean()
    assert nl_means > 27  # noise alone: 26 dB


def test_the_spectrum_of_a_dataset_against_itself_and_doubled():
    dataset = Photos("tuning", 64, 4)
    x = torch.stack([dataset.load(k) for k in range(4)])
    same = spectrum(x, dataset, 3)
    assert same.difference_db.abs().max() < 1e-9
    assert same.up_to_cycles_per_pixel.iloc[-1] == 0.5
    halved = spectrum(x / 2, dataset, 3)
    np.testing.assert_allclose(halved.difference_db, -20 * math.log10(2), atol=1e-6)


def test_samples_are_the_same_in_any_batch():
    network = EpsDenoiser(lambda x_t, t: 0.1 * x_t, Schedule())
    one = samples(network, 3, (3, 16, 16), 0, CPU, 3, steps=4)
    assert one.shape == (3, 3, 16, 16) and one.abs().max() <= 1
    torch.testing.assert_close(one, samples(network, 3, (3, 16, 16), 0, CPU, 2, steps=4))


def test_the_page_is_written_from_the_measurements(tmp_path):
    dataset = Photos("tuning", 64, 2)
    scores = denoising({"lazy": Lazy(), "gaussian": gaussian.load()}, dataset, 0, CPU, 2)
    pictures = torch.stack([dataset.load(k % 2) for k in range(10)])
    losses = tmp_path / "loss.csv"
    pd.DataFrame({"step": range(1, 301), "loss": np.linspace(1, 0.2, 300)}).to_csv(losses, index=False)
    text = write(tmp_path / "card", "lazy", scores, {"photos": spectrum(pictures, dataset, 2)}, pictures, losses)
    means = scores.groupby(["method", "level"]).psnr.mean()
    margin = means["lazy", 0.5] - means["gaussian", 0.5]
    (line,) = [line for line in text.splitlines() if line.startswith("| 0.5")]
    assert f"{means['lazy', 0.5]:.2f}" in line and f"{margin:.2f}" in line
    with Image.open(tmp_path / "card" / "samples.png") as grid:
        assert grid.size == (8 * 128, 128)
        shown = np.asarray(grid)[0:128:2, 0:128:2]
    expected = ((pictures[0].permute(1, 2, 0).numpy() + 1) * 127.5).round()
    np.testing.assert_array_equal(shown, expected)
    assert {p.name for p in (tmp_path / "card").iterdir()} == {
        "denoising.csv", "spectrum.csv", "samples.png", "spectrum.png", "loss.png", "numbers.md",
    }  # fmt: skip


def test_a_prior_that_does_nothing_leaves_all_noise_in_flat_pictures():
    assert mottle(Lazy(), 0.1, 0, CPU) == pytest.approx(1, abs=1e-3)


def test_cbm3d_was_measured_on_the_test_photographs():
    rows = cbm3d.known()
    ids = {record.id for record in Photographs("test", 64).records()}
    assert set(rows.dataset) == {"photographs"} and set(rows.level) == {0.1, 0.2, 0.5}
    for _, level in rows.groupby("level"):
        assert set(level.image_id) == ids
    noisy = {level: -20 * math.log10(level / 2) for level in (0.1, 0.2, 0.5)}
    means = rows.groupby("level").psnr.mean()
    assert all(means[level] > noisy[level] + 3 for level in noisy)


@pytest.mark.slow
def test_the_gate_refuses_a_prior_that_does_nothing():
    pictures = torch.stack([Photographs("test", 64).load(k) for k in range(23)])
    table = gate(Lazy(), pictures, 0, {"device": CPU, "batch_size": 12}).set_index("requirement")
    assert not table.met["sigma 0.1: dB above CBM3D"] and not table.met["sigma 1.0: dB above photos64"]
    assert table.met["samples: greatest error of power in an octave, dB"]  # they are the test photographs
    assert table.value["sigma 0.1: noise left in flat 8x8 means"] == pytest.approx(1, abs=1e-3)
