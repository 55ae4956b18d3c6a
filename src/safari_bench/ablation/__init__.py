"""Ablations: what sweeps over psi's weights, or over methods, say. Reads rows, or the tables of an earlier call."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from safari_bench.ablation import curves, figures, steps
from safari_bench.ablation.components import components, means, names, together
from safari_bench.ablation.effects import effects
from safari_bench.ablation.failures import failures
from safari_bench.ablation.frame import absent, load_study, responses, with_psi
from safari_bench.ablation.page import render
from safari_bench.ablation.verdicts import verdicts
from safari_bench.ledger import make_folder, write_atomic
from safari_bench.reports.layout import dataset_caption
from safari_bench.reports.records import lines, load

__all__ = ["ablate"]

#: what heat maps show; effects.csv has every score
_MAPPED = ("psnr", "haarpsi")
#: what a curve shows, as far as it was scored
_CURVES = ("psnr", "haarpsi", "detail", "phase_high")


def ablate(run_folder: Path) -> tuple[list[Path], list[str]]:
    """Write what applies to a run: CSV tables, figures, and the page ``ablation.md``.

    datasets.csv, means.csv, verdicts.csv and signatures.png always; components.csv and together.csv (settings by name),
    effects.csv and heat maps (a full factorial), curve_<key> and best.csv (one key varies), steps and pairs.csv (zeta
    varies), failures.csv. A folder without cells, such as a result that ships, is read from those tables.

    Returns:
        the files written, and the headings of the scores that the run lacks.

    Raises:
        TableError: see `frame.load_study`.
        LedgerError: a file cannot be written.
    """
    folder = Path(run_folder)
    stored = _stored(folder)
    tables = _measured(folder) if stored is None else stored
    drawn = dict(_figures(tables))
    make_folder(folder)
    files = {f"{name}.csv": _csv(table) for name, table in tables.items()} if stored is None else {}
    files["verdicts.csv"] = _csv(tables["verdicts"])
    files |= drawn | {"ablation.md": render(folder.resolve().name, tables, list(drawn)).encode()}
    for name, data in files.items():
        write_atomic(folder / name, data)
    return [folder / name for name in files], absent(tables["means"])


def _measured(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables by name, from the rows of a run."""
    frame = load_study(folder)
    psi = with_psi(frame)
    tables = {"datasets": _datasets(folder, frame), "means": means(frame), "components": components(psi)}
    tables |= {
        "together": together(psi),
        "effects": effects(psi),
        "steps": steps.chosen(psi),
        "pairs": steps.pairs(psi),
    }
    key = curves.curve_key(psi)
    if key is not None:
        tables |= {f"curve_{key}": curves.changes(psi, key), "best": curves.best_levels(psi, key)}
    tables["failures"] = failures(frame)
    tables = {name: table for name, table in tables.items() if len(table)}
    return tables | {"verdicts": verdicts(tables)}


def _stored(folder: Path) -> dict[str, pd.DataFrame] | None:
    """The tables of an earlier call where the folder holds them and no cells, else None."""
    if not (folder / "datasets.csv").is_file() or any(folder.glob("*/*/*/*/run.json")):
        return None
    known = ("datasets", "means", "components", "together", "effects", "steps", "pairs", "best", "failures")
    files = [folder / f"{name}.csv" for name in known] + sorted(folder.glob("curve_*.csv"))
    tables = {path.stem: pd.read_csv(path) for path in files if path.is_file()}
    return tables | {"verdicts": verdicts(tables)}


def _datasets(folder: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """dataset, images, sources (photographs that the images are crops of), caption."""
    every, found = list(lines(load(folder))), []
    for dataset, group in frame.groupby("dataset", sort=False):
        images = group.image_id.unique()
        sources = {str(image).split("-")[0] for image in images} if dataset == "photos" else images
        said = dataset_caption([line for line in every if line.first.dataset == dataset])
        found.append((dataset, len(images), len(sources), f"{dataset}: {said}"))
    return pd.DataFrame(found, columns=["dataset", "images", "sources", "caption"])


def _figures(tables: dict[str, pd.DataFrame]) -> Iterator[tuple[str, bytes]]:
    table = tables["means"]
    scored = responses(table)
    if "effects" in tables:
        complete = table.merge(tables["effects"][["dataset", "task"]].drop_duplicates())
        for response in (name for name in _MAPPED if name in scored):
            yield f"heat_{response}.png", figures.heat_maps(complete, response)
    for name in (name for name in tables if name.startswith("curve_")):
        key = name.removeprefix("curve_")
        yield f"{name}.png", figures.curves(tables[name], key, [shown for shown in _CURVES if shown in scored])
    if "steps" in tables:
        yield "steps.png", figures.steps(tables["steps"])
    if {"detail", "blur", "excess", "phase_high"} & set(scored):
        called = {label: name for _, of in table.groupby(["dataset", "task"]) for label, name in names(of).items()}
        yield "signatures.png", figures.signatures(table, called)


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()
