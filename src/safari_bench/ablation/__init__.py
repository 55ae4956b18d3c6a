"""Ablations of psi: what a run folder in which its weights vary says about them. Reads rows, like the tables."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from safari_bench.ablation import curves, figures, page, sections, steps
from safari_bench.ablation.components import components, means, names, together
from safari_bench.ablation.effects import effects
from safari_bench.ablation.failures import failures
from safari_bench.ablation.frame import RESPONSES, WEIGHTS, load_study, with_psi
from safari_bench.ablation.wording import caveat, step_caveat
from safari_bench.ledger import make_folder, write_atomic
from safari_bench.reports.layout import dataset_caption
from safari_bench.reports.records import lines, load

__all__ = ["study"]

_Part = tuple[str, bytes, list[str]]


def study(run_folder: Path) -> list[Path]:
    """Write what applies to a run: ``components.csv`` and ``together.csv`` (settings by name), ``effects.csv`` (a full
    factorial), ``curve_*`` (one key varies), ``steps.csv`` and ``pairs.csv`` (zeta varies), ``failures.csv``, always
    ``means.csv``, ``signatures.png`` and ``study.md``, which shows them.

    Raises:
        TableError: see `frame.load_study`.
        LedgerError: a file cannot be written.
    """
    folder = Path(run_folder)
    frame = load_study(folder)
    make_folder(folder)
    asked = "ablation of psi" if frame.spatial.notna().all() else "how each method fails"
    parts = [f"# {folder.resolve().name}: {asked}", *_captions(folder), caveat(frame)]
    steps_differ = step_caveat(with_psi(frame))
    parts += [steps_differ] if steps_differ else []
    written = []
    for name, data, said in _parts(frame):
        write_atomic(folder / name, data)
        written.append(folder / name)
        parts += said
        if name.endswith(".png"):
            parts.append(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})")
    page_file = folder / "study.md"
    write_atomic(page_file, ("\n\n".join(parts) + "\n").encode())
    return [*written, page_file]


def _parts(frame: pd.DataFrame) -> Iterator[_Part]:
    """Files, and what the page says before each of them."""
    psi = with_psi(frame)
    yield from _of_components(psi)
    yield from _of_factorial(psi)
    yield from _of_steps(psi)
    key = curves.curve_key(psi)
    if key is not None:
        changed = curves.changes(psi, key)
        yield (
            f"curve_{key}.csv",
            _csv(changed),
            list(sections.curve_section(changed, curves.best_levels(psi, key), key)),
        )
        yield f"curve_{key}.png", figures.curves(changed, key, ["psnr", "haarpsi", "detail", "phase_high"]), []
    prevented = failures(frame)
    if len(prevented):
        yield "failures.csv", _csv(prevented), list(sections.failures_section(prevented))
    table = means(frame)
    called = {label: name for _, group in frame.groupby(["dataset", "task"]) for label, name in names(group).items()}
    yield "means.csv", _csv(table), list(sections.signatures_section(table, called))
    yield "signatures.png", figures.signatures(table, called), []


def _of_components(psi: pd.DataFrame) -> Iterator[_Part]:
    gains, both = components(psi), together(psi)
    if len(gains):
        yield "components.csv", _csv(gains), [*page.in_short(both, gains), *page.components_section(gains)]
    if len(both):
        yield "together.csv", _csv(both), list(page.questions(both, from_nothing=True))


def _of_factorial(psi: pd.DataFrame) -> Iterator[_Part]:
    found = effects(psi)
    if len(found):
        from_nothing = bool((psi[list(WEIGHTS)] == 0).all(axis=1).any())
        yield (
            "effects.csv",
            _csv(found),
            [
                *page.in_short(found),
                *page.questions(found, from_nothing=from_nothing),
                *page.effects_section(found),
            ],
        )
        for response in RESPONSES:
            yield f"heat_{response}.png", figures.heat_maps(psi, response), []


def _of_steps(psi: pd.DataFrame) -> Iterator[_Part]:
    zetas, pairs = steps.chosen(psi), steps.pairs(psi)
    if len(zetas):
        yield "pairs.csv", _csv(pairs), list(sections.steps_section(zetas, pairs))
        yield "steps.csv", _csv(zetas), []
        yield "steps.png", figures.steps(zetas), []


def _captions(folder: Path) -> list[str]:
    every = list(lines(load(folder)))
    return [
        f"{name}: {dataset_caption([line for line in every if line.first.dataset == name])}"
        for name in dict.fromkeys(line.first.dataset for line in every)
    ]


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()
