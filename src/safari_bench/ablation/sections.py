"""The Markdown page of a study: curves, step sizes, signatures of failure. Sentences are made from numbers here too."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from safari_bench.ablation.components import BOTH
from safari_bench.ablation.frame import FAILURES, RESPONSES, SIGNATURES
from safari_bench.ablation.wording import bare, heads, judged, level, mean_cell, number, side, table, tally

__all__ = ["curve_section", "failures_section", "signatures_section", "steps_section"]


def curve_section(changes: pd.DataFrame, best: pd.DataFrame, key: str) -> Iterator[str]:
    """Means along the one key that varies, the change per image from its lowest level, and where each response is best.

    Args:
        changes, best: as `curves.changes` and `curves.best_levels` give them.
    """
    yield f"## Along {key}"
    yield f"Mean over images; in brackets the change per image from the lowest {key} with its interval."
    for (dataset, task), group in changes.groupby(["dataset", "task"], sort=False):
        rows = []
        for value in sorted(group[key].unique()):
            of = {row.response: row for row in group[group[key] == value].itertuples()}
            rows.append([level(value), *(_changed(of[response]) for response in RESPONSES)])
        yield table(f"{dataset}, {task}", [key, *heads()], rows)
    yield f"### At which {key} each response is best"
    yield "Of a failure, best is where there is least of it. In brackets the best level's advantage per image."
    said = []
    for place, group in best.groupby(["dataset", "task", "response"], sort=False):
        rows_: list[Any] = list(group.itertuples())
        unit = RESPONSES[str(place[2])][1]
        name = FAILURES[str(place[2])][0] if place[2] in FAILURES else RESPONSES[str(place[2])][0]
        said.append(f"- {place[0]}, {place[1]}, {name}: {_best(rows_, unit)}.")
    yield "\n".join(said)


def steps_section(zetas: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[str]:
    """HaarPSI of every setting at every zeta, and whether the settings' order is that of their step sizes.

    Args:
        zetas, pairs: as `steps.chosen` and `steps.pairs` give them.
    """
    yield from _order(zetas, pairs[pairs.response == "haarpsi"])
    yield "## Mean HaarPSI at every zeta"
    yield "In bold each setting's best. The one zeta for all is spatial and frequency's best, as in conf/tuned."
    for (dataset, task), group in zetas.groupby(["dataset", "task"], sort=False):
        levels = sorted(group.zeta.unique())
        rows = [
            [str(setting), *(_score(of[of.zeta == zeta].iloc[0]) for zeta in levels)]
            for setting, of in group.groupby("setting", sort=False)
        ]
        edges = ", ".join(group.setting[group.edge])
        said = f"\n\nBest at an edge of what was tried: {edges}." if edges else ""
        yield table(f"{dataset}, {task}", ["setting", *map(level, levels)], rows) + said
    yield "## Differences between settings"
    yield (
        "Mean over images with its interval. A setting's own zeta for an image is the best on the other images, so "
        "that no image chooses for itself."
    )
    columns = [(response, steps) for response in ("haarpsi", "psnr") for steps in ("shared", "own")]
    head = [f"{RESPONSES[r][0]}, {'one zeta' if steps == 'shared' else 'own zeta'}" for r, steps in columns]
    for (dataset, task), group in pairs.groupby(["dataset", "task"], sort=False):
        pairs_: list[Any] = list(group.itertuples())
        cells = {(r.one, r.other, r.response, r.steps): bare(r.difference, r) for r in pairs_}
        rows = [
            [f"{one} less {other}", *(cells[(one, other, *column)] for column in columns)]
            for one, other in dict.fromkeys((r.one, r.other) for r in pairs_)
        ]
        yield table(f"{dataset}, {task}", ["", *head], rows)


def signatures_section(means: pd.DataFrame, called: Mapping[str, str]) -> Iterator[str]:
    """The signatures of every setting.

    Args:
        means: as `components.means` gives it.
        called: label -> what the page calls it, for those it calls otherwise.
    """
    yield "## Signatures of failure"
    yield "\n".join(f"- {heading}: {meaning}" for heading, _, meaning in SIGNATURES.values())
    yield (
        "Mean over images and half of its interval. In bold what fails beyond chance: the whole interval lies on the "
        "failing side of 0, or coherence is not above 0."
    )
    head = ["setting", *(f"{heading}, {unit}" if unit else heading for heading, unit, _ in SIGNATURES.values())]
    for (dataset, task), group in means.groupby(["dataset", "task"], sort=False):
        rows = []
        order = list(called) if set(group.label) <= set(called) else list(group.label.unique())
        for label in (label for label in order if label in set(group.label)):
            of = {row.response: row for row in group[group.label == label].itertuples()}
            rows.append([called.get(label, label), *(_failing(of[name]) for name in SIGNATURES)])
        yield table(f"{dataset}, {task}", head, rows)


def failures_section(found: pd.DataFrame) -> Iterator[str]:
    """Which setting prevents which failure, counted over tasks and then task by task.

    Args:
        found: as `failures.failures` gives it.
    """
    yield "## Which setting prevents which failure?"
    yield (
        "The change of a failure per image, against a plain setting on the same image. Loss of fine detail and blur "
        "count where\nthere is loss and blur; detail out of place is 1 less the high phase. An entry says on how many "
        "tasks the interval leaves\nout zero."
    )
    tasks = found[["dataset", "task"]].drop_duplicates().shape[0]
    for against, group in found.groupby("against", sort=False):
        counts = {
            (setting, failure): [side(row) for row in of.itertuples()]
            for (setting, failure), of in group.groupby(["setting", "failure"], sort=False)
        }
        settings = list(group.setting.unique())
        rows = [
            [
                setting,
                *(f"{sides.count(-1)} less, {sides.count(1)} more" for sides in (counts[setting, f] for f in FAILURES)),
            ]
            for setting in settings
        ]
        yield table(f"Against {against}, of {tasks} tasks", ["setting", *(name for name, _ in FAILURES.values())], rows)
        yield "\n".join(_prevented(failure, settings, counts) for failure in FAILURES)
    yield "### Task by task"
    lines = []
    for place, group in found.groupby(["dataset", "task", "failure", "against"], sort=False):
        clear = [row for row in group.itertuples() if side(row)]
        said = [f"{_amount(row)} with {row.setting}" for row in clear]
        name = FAILURES[str(place[2])][0]
        lines.append(f"- {place[0]}, {place[1]}: {name}, against {place[3]}: {'; '.join(said) or 'no clear change'}.")
    yield "\n".join(lines)


def _best(rows: list[Any], unit: str) -> str:
    """The best level, and from which others it can be told; rows of `curves.best_levels` for one response."""
    if all(row.advantage == row.ci_low == row.ci_high == 0 for row in rows):
        return "the same at every level"
    others = [
        f"{'better than' if side(row) > 0 else 'not distinguishable from'} {level(row.other)} "
        f"({judged(row.advantage, row.ci_low, row.ci_high, unit)})"
        for row in rows
    ]
    return f"{level(rows[0].best)}; {', '.join(others)}"


def _order(zetas: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[str]:
    """The settings from best to worst at one zeta and each at its own; pairs: those of HaarPSI."""
    verdicts = {
        steps: {(r.dataset, r.task, r.one, r.other): side(r) for r in pairs[pairs.steps == steps].itertuples()}
        for steps in ("shared", "own")
    }
    orders = {place: _orders(group) for place, group in zetas.groupby(["dataset", "task"], sort=False)}
    moved = sum([name for name, _ in shared] != [name for name, _ in own] for shared, own in orders.values())
    turned = sum(shared * verdicts["own"][pair] < 0 for pair, shared in verdicts["shared"].items())
    clear = [sum(map(abs, verdicts[steps].values())) for steps in ("shared", "own")]
    yield "## Does the order of the settings change when each has its own step size?"
    yield (
        f"By mean HaarPSI the order of the settings changes on {moved} of {len(orders)} tasks. "
        f"Of {len(verdicts['shared'])} differences between two settings {clear[0]} are beyond chance where one "
        f"zeta serves all, {clear[1]} where each setting has its own, and {turned} are beyond chance both ways with "
        "opposite signs."
    )
    both = pairs[pairs.one == BOTH].rename(columns={"difference": "value"})
    yield "\n".join(
        f"- HaarPSI of {BOTH} less that of {other}, {words}: {tally(list(group.itertuples()), ('above 0', 'below 0'))}."
        for other, of in both.groupby("other", sort=False)
        for words, group in (("one zeta", of[of.steps == "shared"]), ("each its own", of[of.steps == "own"]))
    )
    yield "\n".join(
        f"- {dataset}, {task}: at {level(shared[0][1])} for all: {' > '.join(name for name, _ in shared)}; "
        f"each at its own: {' > '.join(f'{name} ({level(zeta)})' for name, zeta in own)}."
        for (dataset, task), (shared, own) in orders.items()
    )


def _prevented(failure: str, settings: list[str], counts: Mapping[tuple[Any, Any], list[int]]) -> str:
    """Which settings show less of a failure, those that do on most tasks first, and which show more."""
    said = []
    for words, sign in (("prevented by", -1), ("made worse by", 1)):
        on = {setting: counts[setting, failure].count(sign) for setting in settings}
        named = [f"{setting} on {on[setting]}" for setting in sorted(settings, key=lambda s: -on[s]) if on[setting]]
        said.append(f"{words} {', '.join(named) or 'none'}")
    return f"- {FAILURES[failure][0]}: {'; '.join(said)}."


def _amount(row: Any) -> str:
    return judged(row.change, row.ci_low, row.ci_high, FAILURES[row.failure][1])


def _orders(zetas: pd.DataFrame) -> list[list[tuple[str, float]]]:
    """The settings of one task from best to worst with their zeta, at the shared one and each at its best."""
    return [
        [(str(row.setting), float(row.zeta)) for row in _ranked(zetas[zetas[column]])] for column in ("shared", "best")
    ]


def _ranked(zetas: pd.DataFrame) -> list[Any]:
    return list(zetas.sort_values("mean", ascending=False).itertuples())


def _score(row: Any) -> str:
    return f"**{row['mean']:.4f}**" if row.best else f"{row['mean']:.4f}"


def _changed(row: Any) -> str:
    value = number(row.mean, RESPONSES[row.response][1])
    return value if pd.isna(row.ci_low) else f"{value} ({bare(row.change, row)})"


def _failing(row: Any) -> str:
    fails = {
        "detail": row.ci_high < 0,
        "blur": row.ci_low > 0,
        "excess": row.ci_low > 0,
        "phase_high": row.ci_low <= 0,
    }[row.response]
    return f"**{mean_cell(row)}**" if fails else mean_cell(row)
