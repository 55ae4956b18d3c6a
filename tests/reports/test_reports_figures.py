"""What the curves and scatters show, read from the figure before it becomes pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from safari_bench.metrics.spectrum import ROUNDING_POWER, ring_power
from safari_bench.reports import figures
from safari_bench.reports.pictures import finest_window, radial_power
from safari_bench.reports.records import lines, load
from safari_bench.reports.statistics import summary


def noise(path: Path, amplitude: float, seed: int = 0) -> np.ndarray:
    pixels = (128 + amplitude * np.random.default_rng(seed).uniform(-1, 1, (32, 32, 3))).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def drawn(monkeypatch: pytest.MonkeyPatch, draw) -> dict[str, list[Axes]]:
    """{title of a panel: the axes below it}, in place of the PNG."""
    seen: list[Figure] = []
    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, *_, **__: seen.append(self))
        draw()
    axes = [a for a in seen[0].axes if a.axison]
    titles = [a.get_title() for a in axes if a.get_title()]
    return {title: axes[k :: len(titles)] for k, title in enumerate(titles)}


def points(axes: Axes) -> dict[str, tuple[float, float]]:
    return {c.get_label(): tuple(float(v[0]) for v in c.lines[0].get_data()) for c in axes.containers}


def curves(axes: Axes) -> dict[str, np.ndarray]:
    return {line.get_label(): np.array(line.get_data()) for line in axes.lines}


@pytest.mark.parametrize("size", [(32, 32), (17, 40), (40, 24)])
def test_radial_power_is_that_of_the_metric(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = ring_power(torch.from_numpy(picture).double().permute(2, 0, 1)[None] / 255).mean(1)[0].numpy()
    got = radial_power(picture)
    assert len(got) == min(size) // 2 + 1
    np.testing.assert_allclose(got, expected[: len(got)], rtol=1e-10, atol=1e-15)


def test_the_finest_window() -> None:
    picture = np.zeros((40, 50), np.uint8)
    picture[20:28, 31:39] = np.indices((8, 8)).sum(0) % 2 * 200
    left, top = finest_window(Image.fromarray(picture), 10)
    assert 29 <= left <= 31 and 18 <= top <= 20
    assert finest_window(Image.new("RGB", (40, 50)), 10) == (0, 0)


def test_scatters_show_the_means_of_the_table(run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.cell("dps", {"psnr": [20, 24, 22, 22], "haarpsi": 0.5, "nfe": 100, "seconds": 2.0})
    run.cell("tv", {"psnr": 25.0, "haarpsi": 0.4, "nfe": 0, "seconds": 0.5})
    run.cell("dps", {"psnr": 30.0, "nfe": 50, "seconds": 2.0}, task="denoising")  # without a HaarPSI
    run.cell("ddrm", statuses=dict.fromkeys("abcd", ("unsupported", "no SVD")))
    found = list(lines(load(run.folder)))
    table = summary(found)
    panels = drawn(monkeypatch, lambda: figures.distortion(found, table))
    assert list(panels) == ["photos: denoising", "photos: sr_x4"]
    assert points(panels["photos: sr_x4"][0]) == {"tv": (25.0, 0.4), "dps": (22.0, 0.5)}
    assert points(panels["photos: denoising"][0]) == {}
    calls, seconds = drawn(monkeypatch, lambda: figures.cost(found, table))["photos: sr_x4"]
    assert points(calls) == {"tv": (0.0, 0.4), "dps": (100.0, 0.5)}
    assert points(seconds) == {"tv": (0.5, 0.4), "dps": (2.0, 0.5)}


def test_what_lies_far_out_does_not_set_the_scale_and_is_named(run, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, sampler in enumerate(("safari", "dps", "ddrm", "tv", "diffpir")):
        run.cell(sampler, {"psnr": 20.0 + number, "haarpsi": 0.5 + 0.01 * number, "nfe": 100, "seconds": 2.0})
    found = list(lines(load(run.folder)))
    (plain,) = drawn(monkeypatch, lambda: figures.distortion(found, summary(found)))["photos: sr_x4"]
    assert not plain.texts
    run.cell("unconditional", {"psnr": 7.0, "haarpsi": 0.1, "nfe": 50, "seconds": 1.0})
    found = list(lines(load(run.folder)))
    (panel,) = drawn(monkeypatch, lambda: figures.distortion(found, summary(found)))["photos: sr_x4"]
    assert [text.get_text() for text in panel.texts] == ["off the panel:\nunconditional"]
    assert len(points(panel)) == 6 and all(
        panel.get_xlim()[0] < x < panel.get_xlim()[1] and panel.get_ylim()[0] < y < panel.get_ylim()[1]
        for label, (x, y) in points(panel).items()
        if label != "unconditional"
    )
    assert panel.get_xlim()[0] > 19 and panel.get_ylim()[0] > 0.48
    calls, _ = drawn(monkeypatch, lambda: figures.cost(found, summary(found)))["photos: sr_x4"]
    assert calls.get_xlim()[0] < 0 < 100 < calls.get_xlim()[1]  # costs are never cut off
    assert len(calls.texts) == 1 and calls.get_ylim()[0] > 0.48


def test_spectra_compare_with_the_references_of_the_same_images(run, monkeypatch: pytest.MonkeyPatch) -> None:
    dps, tv = run.cell("dps", {"psnr": 1.0}), run.cell("tv", {"psnr": 1.0})
    clean = [noise(run.folder / "photos" / "reference" / f"{i}.png", 60, n) for n, i in enumerate("ab")]
    for number, image in enumerate("ab"):
        noise(dps / "images" / f"{image}.png", 30, number)
    noise(tv / "images" / "a.png", 60)  # the reference itself, of one image only
    found = list(lines(load(run.folder)))
    power, excess = drawn(monkeypatch, lambda: figures.spectrum(found))["photos: sr_x4"]
    mean = np.mean([radial_power(picture) for picture in clean], axis=0)[1:] + ROUNDING_POWER
    assert list(curves(power)) == ["reference", "tv", "dps"]
    frequency, decibels = curves(power)["reference"]
    np.testing.assert_allclose(decibels, 10 * np.log10(mean))
    np.testing.assert_allclose(frequency, np.arange(1, 17) / 16)
    assert np.abs(curves(excess)["tv"][1]).max() == 0
    assert np.abs(curves(excess)["dps"][1] - 20 * np.log10(0.5)).max() < 0.5  # half the amplitude


def test_figures_are_the_same_bytes_and_need_no_numbers(run) -> None:
    run.cell("dps", {"new": 1.0}, color=(50, 90, 20))
    found = list(lines(load(run.folder)))
    table = summary(found)
    for draw in (lambda: figures.distortion(found, table), lambda: figures.spectrum(found)):
        data = draw()
        assert data[:4] == b"\x89PNG" and data == draw()
        assert b"matplotlib" not in data  # a version in it would change the bytes


def test_methods_of_one_colour_differ_in_shape_and_filling(run) -> None:
    for number in range(25):
        run.cell(f"method_{number:02}", {"psnr": 1.0}, count=1)
    styles = list(figures._styles(list(lines(load(run.folder)))).values())[1:]
    assert len(styles) == 25 and len({(s["color"], s["marker"]) for s in styles}) == 25
    for number in range(10):
        first, second = styles[number], styles[number + 10] if number + 10 < 25 else styles[number]
        assert first["color"] == second["color"] and second.get("markerfacecolor") == "white"
        assert "markerfacecolor" not in first
