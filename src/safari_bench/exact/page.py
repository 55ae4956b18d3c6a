"""exact.md and the plots, from the CSV files of an exact study: cells are formatted here, sentences in the template."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsFloat

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from tabulate import tabulate

from safari_bench.exact.plots import plot_bound, plot_task
from safari_bench.exact.rows import Row, to_csv
from safari_bench.exact.study import EXACT
from safari_bench.exact.verdicts import bound_verdicts, explained, order_table, psi_verdicts, verdicts
from safari_bench.ledger import write_atomic

__all__ = ["number", "power_of_ten", "render", "title"]

_GAUSSIAN = ("calibrated", "near", "too wide", "collapsed", "off")
_MIXTURE = ("weights ok", "weights wrong", "one mode")
_FAILED = ("diverged", "unsupported")


def render(folder: Path, guided: Mapping[str, str], missing: int = 0) -> str:
    """Write exact.md, verdicts.csv and the plots from the CSV files in the folder; the page is returned too.

    Args:
        guided: see `verdicts.explained`.
        missing: points that are planned and not computed.

    Raises:
        LedgerError: a file cannot be written.
    """
    names = ("exact", "mixture", "bound", "psi_target", "orders")
    tables = {name: _read(folder / f"{name}.csv") for name in names if (folder / f"{name}.csv").is_file()}
    points = {name: tables[name] for name in ("exact", "mixture") if name in tables}
    found = {name: verdicts(rows) for name, rows in points.items()}
    if found:
        write_atomic(folder / "verdicts.csv", to_csv(_records(pd.concat(found.values()))))
    every = pd.concat([*points.values(), pd.DataFrame(columns=["status", "method", "seconds", "samples"])])
    worked = every[(every.status == "ok") & (every.method != EXACT)]
    values = {
        "points": len(every),
        "minutes": float((every.seconds * every.samples).sum()) / 60,
        "untimed": int(worked.seconds.isna().sum()),
        "missing": missing,
        "sections": [_section(name, of) for rows in found.values() for name, of in rows.groupby("section", sort=False)],
        **_theory(tables, found.get("exact"), dict(guided)),
    }
    environment = Environment(
        loader=PackageLoader("safari_bench.exact"), trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    page = environment.get_template("exact.md.j2").render(values).rstrip() + "\n"
    write_atomic(folder / "exact.md", page.encode())
    if "bound" in tables:
        write_atomic(folder / "bound.png", plot_bound(_records(tables["bound"])))
    for rows in points.values():
        for (section, task), of_task in rows.groupby(["section", "task"], sort=False):
            write_atomic(folder / f"{section}-{task}.png", _plot(str(section), str(task), of_task))
    return page


def title(section: str) -> str:
    """What a reader calls a section: "gaussian-64" is "Gaussian prior, 64 px"."""
    kind, size, *label = section.split("-")
    return ", ".join([{"gaussian": "Gaussian prior"}.get(kind, "Mixture prior"), f"{size} px", *label])


def number(value: SupportsFloat) -> str:
    """Three digits, two for small ones, and an exponent where it is shorter; nothing for NaN."""
    value = float(value)
    if math.isnan(value):
        return ""
    if 0.001 <= abs(value) < 1000:
        return f"{value:.3g}" if abs(value) >= 0.1 else f"{value:.2g}"
    return "0" if abs(value) < 5e-5 else f"{value:.1e}"


def power_of_ten(log10: float) -> str:
    """10^log10 with three digits, however large or small."""
    if log10 == -math.inf:
        return "0"
    whole = math.floor(log10)
    return f"{10 ** (log10 - whole):.2f}e{whole:+d}"


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"key": str, "value": str}, keep_default_na=False, na_values=["nan"])


def _records(frame: pd.DataFrame) -> list[Row]:
    rows: list[Any] = frame.to_dict("records")
    return rows


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    align = ["left", *["right"] * (len(head) - 1)]
    return str(tabulate(list(rows), headers=head, tablefmt="pipe", disable_numparse=True, colalign=align))


def _section(name: Any, found: pd.DataFrame) -> dict[str, Any]:
    mixture = str(name).startswith("mixture")
    ranked = found[found.method != EXACT].dropna(subset=["distance"]).sort_values("distance", kind="stable")
    return {
        "title": title(name),
        "mixture": mixture,
        "summary": _summary(found, _MIXTURE if mixture else _GAUSSIAN) if found.task.nunique() > 1 else "",
        "distances": _distances(found),
        "nearest": {
            task: [_named(row) for row in ranked[ranked.task == task].head(3).itertuples()]
            for task in found.task.unique()
        },
    }


def _summary(found: pd.DataFrame, words: Sequence[str]) -> str:
    """Tasks per verdict by method, exact draws first, then those that are most often right and nearest."""
    shown = [word for word in (*words, *_FAILED) if word in set(found.verdict)]
    ranked = []
    for method, of in found.groupby("method", sort=False):
        counts, distance, nfe = (
            [int((of.verdict == word).sum()) for word in shown],
            of.distance.median(),
            of.nfe.median(),
        )
        cost = "" if math.isnan(nfe) else f"{nfe:.0f}"
        row = [str(method), *map(str, counts), number(distance), cost, number(of.change.median())]
        ranked.append((method != EXACT, -counts[0], distance if distance == distance else math.inf, row))
    head = ["method", *shown, "median distance", "median NFE", "change with steps"]
    return _table(head, [row for *_, row in sorted(ranked)])


def _distances(found: pd.DataFrame) -> str:
    tasks = list(found.task.unique())
    cells = {(row.method, row.task): _cell(row, alone=len(tasks) == 1) for row in found.itertuples()}
    rows = [[m, *(cells.get((m, task), "") for task in tasks)] for m in found.method.unique()]
    return _table(["method", *tasks], rows)


def _cell(row: Any, *, alone: bool) -> str:
    """Distance, error of a mixture's weights and NFE; bold where the verdict is the best one; the verdict if alone."""
    if math.isnan(row.distance):
        return str(row.verdict)
    weights = getattr(row, "weight_error", math.nan)
    said = f"{row.mark} {number(row.distance)}".strip() + (f", {weights:.2f}" if weights == weights else "")
    text = f"**{said}**" if row.verdict in (_GAUSSIAN[0], _MIXTURE[0]) else said
    text = text if math.isnan(row.nfe) else f"{text} ({row.nfe:.0f})"
    return f"{row.verdict}: {text}" if alone else text


def _named(row: Any) -> str:
    backward = f" + {row.n_backward:.0f} backward" if row.n_backward else ""
    return f"{row.method} {row.mark} {number(row.distance)} ({row.nfe:.0f} NFE{backward})".replace("  ", " ")


def _plot(section: str, task: str, rows: pd.DataFrame) -> bytes:
    mixture = "sliced_w" in rows
    columns = ("sliced_w", "weight_error") if mixture else ("mean_error_sd", "sd_ratio")
    names = ("sliced W", "error of the weights") if mixture else ("error of the mean / sd", "sd ratio")
    return plot_task(_records(rows), f"{title(section)}: {task}", columns, names, ideal=None if mixture else 1.0)


def _theory(tables: Mapping[str, pd.DataFrame], found: pd.DataFrame | None, guided: dict[str, str]) -> dict[str, str]:
    """The tables on psi's target, the theorem's bound and orders of convergence; empty where not asked for."""
    said = dict.fromkeys(("psi", "explained", "bounds", "orders"), "")
    if "psi_target" in tables:
        table = psi_verdicts(tables["psi_target"])
        head = [str(name).replace("coverage", "90 % coverage, as weighed") for name in table]
        rows = [[_extreme(value) for value in row] for row in table.itertuples(index=False)]
        said["psi"] = _table(head, rows)
        share = explained(tables["psi_target"], found, guided) if found is not None else pd.DataFrame()
        cells, explaining = [], list[Any](share.itertuples())
        for r in explaining:
            w2, target = f"{r.mark} {number(r.w2)} ({r.nfe:.0f})".strip(), f"{number(r.least)} to {number(r.most)}"
            cells.append([r.method, r.task, r.psi, w2, target, number(r.own)])
        head = ["method", "task", "psi", "W2 of the sampler (NFE)", "W2 of psi's target", "the sampler's own, at least"]
        said["explained"] = _table(head, cells) if cells else ""
    if "bound" in tables:
        rows, per_gamma = [], list[Any](bound_verdicts(tables["bound"]).itertuples())
        for r in per_gamma:
            ratio, counts = power_of_ten(r.log10_ratio), [str(r.below), str(r.informative)]
            rows.append([f"{r.gamma:g}", f"{r.violated} of {r.points}", ratio, r.tightest, *counts, r.times])
        head = ["gamma", "violated", "largest left / right", "at", "below the trivial bound", "informative", "t"]
        said["bounds"] = _table(head, rows)
    if "orders" in tables:
        table = order_table(tables["orders"])
        head = ["claim", "task", "should converge", *(f"{n} steps" for n in table.columns[3:-2]), "last order", "mean"]
        rows = [[*row[:3], *map(number, row[3:-2]), f"{row[-2]:.2f}", number(row[-1])] for row in table.to_numpy()]
        said["orders"] = _table(head, rows)
    return said


def _extreme(value: Any) -> str:
    if isinstance(value, tuple):
        return " to ".join(map(number, value))
    return value if isinstance(value, str) else number(value)
