"""ablation.md from the tables of an ablation: cells are formatted here, sentences stand in the template."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from tabulate import tabulate

from safari_bench.ablation.components import names
from safari_bench.ablation.frame import FAILURES, RESPONSES, SIGNATURES, WEIGHTS, responses
from safari_bench.ablation.verdicts import HIGHER, LOWER, UNCLEAR, both, order, turned, verdict
from safari_bench.reports.comparisons import ALPHA

__all__ = ["render"]

_PLACE = ["dataset", "task"]
#: more settings than this stand in means.csv and the figures only.
_MOST_SETTINGS = 20


def render(name: str, tables: Mapping[str, pd.DataFrame], figures: Sequence[str]) -> str:
    """The page.

    Args:
        name: of the run.
        tables: the CSV files by name without suffix: datasets, means and verdicts, and what else applies.
        figures: file names.
    """
    means, found = tables["means"], tables["verdicts"]
    curve = next((key for key in tables if key.startswith("curve_")), None)
    values = {
        "name": name,
        "datasets": list(tables["datasets"].itertuples()),
        "tables": tables,
        "figures": figures,
        "alpha": ALPHA,
        "unscored": [RESPONSES[key][0] for key in RESPONSES if key not in responses(means)],
        "zetas": _zetas(means),
        "summary": _summary(found),
        "both": _across(both(found), "response", "both"),
        "from_nothing": bool((means[list(WEIGHTS)] == 0).all(axis=1).any()),
        "least_p": tables["components"].p_smallest.max() if "components" in tables else 0.0,
        "differences": [(_heading(key), _differences(found[found.response == key])) for key in responses(found)],
        "curve": curve.removeprefix("curve_") if curve else "",
        "best": _best(tables["best"]) if "best" in tables else "",
        "failures": _failures(tables["failures"]) if "failures" in tables else [],
        "signatures": [SIGNATURES[key] for key in SIGNATURES if key in responses(means)],
        "scores": _scores(means),
        "steps": _steps(tables["steps"]) if "steps" in tables else [],
        "order": list(order(tables["steps"]).itertuples()) if "steps" in tables else [],
        "turned": turned(tables["pairs"]) if "pairs" in tables else {},
    }
    environment = Environment(
        loader=PackageLoader("safari_bench.ablation"), trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return environment.get_template("ablation.md.j2").render(values).rstrip() + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return str(tabulate(list(rows), headers=head, tablefmt="pipe", disable_numparse=True))


def _heading(response: str) -> str:
    name, unit = RESPONSES[response]
    return f"{name}, {unit}" if unit else name


def _digits(response: str) -> int:
    return 2 if (FAILURES | RESPONSES)[response][1] else 3


def _places(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(frame[_PLACE].drop_duplicates().itertuples(index=False, name=None))


def _place(place: Any, frame: pd.DataFrame) -> str:
    """The task, with its dataset where there are several."""
    return place[1] if frame.dataset.nunique() == 1 else f"{place[0]}, {place[1]}"


def _across(frame: pd.DataFrame, rows: str, cells: str) -> str:
    """A table with a column per task: `cells` as text."""
    places = _places(frame)
    texts = {(row[rows], row.dataset, row.task): row[cells] for _, row in frame.iterrows()}
    lines = [
        [_heading(key) if rows == "response" else key, *(texts.get((key, *place), "") for place in places)]
        for key in frame[rows].unique()
    ]
    return _table(["", *(_place(place, frame) for place in places)], lines) if len(frame) else ""


def _differences(found: pd.DataFrame) -> str:
    digits = _digits(found.response.iloc[0])
    return _across(found.assign(text=[_difference(row, digits) for row in found.itertuples()]), "comparison", "text")


def _difference(row: Any, digits: int) -> str:
    """value [low, high], bold where clear, with a star where the permutation test is passed too."""
    ends = f" [{row.ci_low:+.{digits}f}, {row.ci_high:+.{digits}f}]" if np.isfinite(row.ci_low) else ""
    text = f"{row.value:+.{digits}f}{ends}"
    return (text if row.verdict == UNCLEAR else f"**{text}**") + (" \\*" if row.p_holm < ALPHA else "")


def _summary(found: pd.DataFrame) -> str:
    """On how many tasks a comparison is higher or lower, and its range over tasks; PSNR and HaarPSI."""
    shown = [key for key in ("psnr", "haarpsi") if key in set(found.response)]
    lines = []
    for comparison in found.comparison.unique():
        line = [comparison]
        for key in shown:
            of, digits = found[(found.comparison == comparison) & (found.response == key)], _digits(key)
            counts = " / ".join(str(int((of.verdict == word).sum())) for word in (HIGHER, UNCLEAR, LOWER))
            line.append(f"{counts} ({of.value.min():+.{digits}f} to {of.value.max():+.{digits}f})" if len(of) else "")
        lines.append(line)
    return _table(["difference", *(_heading(key) for key in shown)], lines) if lines and shown else ""


def _zetas(means: pd.DataFrame) -> str:
    """The zeta of each task where all of several settings share it, else nothing."""
    tasks = means[means.spatial.notna()].groupby(_PLACE, sort=False)
    if not len(tasks) or tasks.label.nunique().max() < 2 or tasks.zeta.nunique().max() > 1:
        return ""
    return ", ".join(f"{row.task} {row.zeta:g}" for row in tasks.zeta.first().reset_index().itertuples())


def _best(best: pd.DataFrame) -> str:
    lines = []
    for (dataset, task, response), group in best.groupby([*_PLACE, "response"], sort=False):
        clear = group.ci_low > 0
        same = (group[["advantage", "ci_low", "ci_high"]] == 0).all(axis=None)
        said = [", ".join(f"{level:g}" for level in group.other[where]) or "none" for where in (clear, ~clear)]
        name = (RESPONSES | FAILURES)[str(response)][0]
        lines.append(
            [_place((dataset, task), best), name, *(["all", "", ""] if same else [f"{group.best.iloc[0]:g}", *said])]
        )
    return _table(["task", "", "best", "clearly better than", "not distinguishable from"], lines)


def _failures(failures: pd.DataFrame) -> list[tuple[str, int, str]]:
    """(baseline, tasks, table) of how often a setting shows less and more of a failure than the baseline."""
    found = []
    for against, group in failures.groupby("against", sort=False):
        kinds = [key for key in FAILURES if key in set(group.failure)]
        lines = []
        for setting, of in group.groupby("setting", sort=False):
            sides = [verdict(low, high) for low, high in zip(of.ci_low, of.ci_high, strict=True)]
            words = {key: [side for side, kind in zip(sides, of.failure, strict=True) if kind == key] for key in kinds}
            lines.append([str(setting), *(f"{said.count(LOWER)} / {said.count(HIGHER)}" for said in words.values())])
        found.append((str(against), len(_places(group)), _table(["", *(FAILURES[key][0] for key in kinds)], lines)))
    return found


def _scores(means: pd.DataFrame) -> list[tuple[str, str]]:
    """(task, table) of mean and half of the interval; bold where a signature fails beyond chance."""
    found = []
    for place, group in means.groupby(_PLACE, sort=False):
        called = names(group)
        labels = [label for label in called if label in set(group.label)] or list(group.label.unique())
        if len(labels) <= _MOST_SETTINGS:
            cells = {(row.label, row.response): _score(row) for row in group.itertuples()}
            shown = responses(group)
            lines = [[called.get(label, label), *(cells[label, key] for key in shown)] for label in labels]
            found.append((_place(place, means), _table(["setting", *map(_heading, shown)], lines)))
    return found


def _score(row: Any) -> str:
    half, digits = (row.ci_high - row.ci_low) / 2, _digits(row.response)
    text = f"{row.mean:.{digits}f}" + (f" ± {half:.{digits}f}" if np.isfinite(half) else "")
    failing = {"detail": row.ci_high < 0, "phase_high": row.ci_low <= 0}.get(row.response, row.ci_low > 0)
    return f"**{text}**" if failing and row.response in SIGNATURES else text


def _steps(zetas: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """(task, table of mean HaarPSI by setting and zeta, settings whose best zeta is at an edge)."""
    found = []
    for place, group in zetas.groupby(_PLACE, sort=False):
        text = [f"**{row['mean']:.4f}**" if row.best else f"{row['mean']:.4f}" for _, row in group.iterrows()]
        wide = group.assign(text=text).pivot(index="setting", columns="zeta", values="text")
        lines = [[str(setting), *cells] for setting, cells in zip(wide.index, wide.to_numpy(), strict=True)]
        table = _table(["setting", *(f"{zeta:g}" for zeta in wide.columns)], lines)
        found.append((_place(place, zetas), table, list(group.setting[group.edge])))
    return found
