"""Ablations of psi: what a run folder in which its weights vary says about them. Reads rows, like the tables."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from safari_bench.ledger import make_folder, write_atomic
from safari_bench.studies import figures
from safari_bench.studies.components import components, curve_key, means
from safari_bench.studies.effects import effects
from safari_bench.studies.frame import WEIGHTS, load_study
from safari_bench.studies.page import components_section, curve_section, effects_section, signatures_section
from safari_bench.tables.layout import dataset_caption
from safari_bench.tables.records import lines, load

__all__ = ["study"]


def study(run_folder: Path) -> list[Path]:
    """Write what applies to a run: ``components.csv`` (settings by name), ``effects.csv`` (a full factorial), curves
    (one key varies), always ``means.csv``, ``signatures.png`` and ``study.md``, which shows them.

    Raises:
        TableError: see `frame.load_study`.
        LedgerError: a file cannot be written.
    """
    folder = Path(run_folder)
    frame = load_study(folder)
    make_folder(folder)
    parts = [f"# {folder.resolve().name}: ablation of psi", *_captions(folder)]
    written = []
    for name, data, said in _parts(frame):
        write_atomic(folder / name, data)
        written.append(folder / name)
        parts += said
        if name.endswith(".png"):
            parts.append(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})")
    page = folder / "study.md"
    write_atomic(page, ("\n\n".join(parts) + "\n").encode())
    return [*written, page]


def _parts(frame: pd.DataFrame) -> Iterator[tuple[str, bytes, list[str]]]:
    """Files, and what the page says before each of them."""
    table, named, found = means(frame), components(frame), effects(frame)
    if len(named):
        yield "components.csv", _csv(named), list(components_section(named))
    if len(found):
        yield (
            "effects.csv",
            _csv(found),
            list(effects_section(found, from_nothing=bool((frame[list(WEIGHTS)] == 0).all(axis=1).any()))),
        )
        for response in ("psnr", "haarpsi", "detail", "phase_high"):
            yield f"heat_{response}.png", figures.heat_maps(frame, response), []
    key = curve_key(frame)
    if key is not None:
        yield (
            f"curve_{key}.png",
            figures.curves(table, key, ["psnr", "haarpsi", "detail", "phase_high"]),
            list(curve_section(table, key)),
        )
    yield "means.csv", _csv(table), list(signatures_section(table))
    yield "signatures.png", figures.signatures(table), []


def _captions(folder: Path) -> list[str]:
    every = list(lines(load(folder)))
    return [
        f"{name}: {dataset_caption([line for line in every if line.first.dataset == name])}"
        for name in dict.fromkeys(line.first.dataset for line in every)
    ]


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()
