"""Measurements -> CSV, pictures and a page."""

from pathlib import Path

import matplotlib
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image as PilImage
from torch.nn import functional as F

from safari_bench.data import to_uint8
from safari_bench.shapes import Image

__all__ = ["write"]

matplotlib.use("agg")
_ENLARGED = 2


def write(
    folder: Path,
    prior: str,
    scores: pd.DataFrame,
    spectra: dict[str, pd.DataFrame],
    pictures: Image,
    losses: Path | None,
    requirements: pd.DataFrame | None = None,
) -> str:
    """Write denoising.csv, spectrum.csv, samples.png, spectrum.png, numbers.md, and loss.png if there are losses.

    Args:
        prior: the name under which scores hold the prior on trial.
        scores: rows of `measure.denoising`, several datasets.
        spectra: dataset name -> `measure.spectrum`.
        pictures: samples of the prior.
        losses: loss.csv of the training run.
        requirements: rows of `gate.gate`.
    Returns:
        the text of numbers.md.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scores.to_csv(folder / "denoising.csv", index=False, float_format="%.4f", lineterminator="\n")
    table = pd.concat([frame.assign(dataset=name) for name, frame in spectra.items()])
    table.to_csv(folder / "spectrum.csv", index=False, float_format="%.3f", lineterminator="\n")
    _grid(pictures).save(folder / "samples.png")
    _plot_spectra(spectra, prior, folder / "spectrum.png")
    if losses is not None:
        _plot_losses(losses, folder / "loss.png")
    parts = [*_denoising_tables(scores, prior), *_spectrum_tables(spectra)]
    if requirements is not None:
        parts += ["Requirements for a prior that ships", requirements.to_markdown(index=False, floatfmt=".2f")]
    text = "\n\n".join(parts) + "\n"
    (folder / "numbers.md").write_text(text, encoding="utf-8")
    return text


def _denoising_tables(scores: pd.DataFrame, prior: str) -> list[str]:
    parts = []
    for dataset, rows in scores.groupby("dataset", sort=False):
        means = rows.pivot_table(index="level", columns="method", values="psnr", sort=False)
        others = [name for name in means if name != prior]
        for other in others:
            means[f"{prior} - {other}"] = means[prior] - means[other]
        means.index.name = "sigma_t"
        count = rows.image_id.nunique()
        parts.append(f"One-step denoising, {dataset}, {count} images, mean PSNR in dB")
        parts.append(means.map(lambda v: "" if pd.isna(v) else f"{v:.2f}").to_markdown(disable_numparse=True))
    return parts


def _spectrum_tables(spectra: dict[str, pd.DataFrame]) -> list[str]:
    parts = []
    for dataset, frame in spectra.items():
        parts.append(f"Radial power of samples against {dataset}, dB, by octave")
        parts.append(frame.to_markdown(index=False, floatfmt=".2f"))
    return parts


def _grid(pictures: Image, columns: int = 8) -> PilImage.Image:
    rows = [torch.cat(list(pictures[k : k + columns]), -1) for k in range(0, len(pictures), columns)]
    full = [row for row in rows if row.shape[-1] == rows[0].shape[-1]]
    picture = F.interpolate(torch.cat(full, -2)[None], scale_factor=_ENLARGED, mode="nearest")[0]
    return PilImage.fromarray(to_uint8(picture).permute(1, 2, 0).numpy())


def _plot_spectra(spectra: dict[str, pd.DataFrame], prior: str, path: Path) -> None:
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    for dataset, frame in spectra.items():
        axes.plot(frame.up_to_cycles_per_pixel, frame.dataset_db, marker="o", label=dataset)
    axes.plot(frame.up_to_cycles_per_pixel, frame.pictures_db, marker="s", color="black", label=f"samples of {prior}")
    axes.set(xscale="log", xlabel="frequency, cycles per pixel (upper edge of octave)", ylabel="mean power, dB")
    axes.legend()
    figure.savefig(path, dpi=120)


def _plot_losses(losses: Path, path: Path, window: int = 200) -> None:
    curve = pd.read_csv(losses)
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    smooth = curve.loss.rolling(window, min_periods=window // 4).mean()
    axes.plot(curve.step, smooth, color="black")
    axes.set(xlabel="step", ylabel=f"v-prediction loss, mean over {window} steps", yscale="log")
    figure.savefig(path, dpi=120)
