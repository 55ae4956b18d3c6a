"""The Markdown page of a study: the parts of psi. A sentence that states a result is made from numbers beside it."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from safari_bench.ablation.effects import FREQUENCY_BESIDE, SPATIAL_BESIDE, SYNERGY
from safari_bench.ablation.frame import RESPONSES, SIGNATURES
from safari_bench.ablation.wording import bare, heads, judged, number, side, table, tally
from safari_bench.reports.comparisons import ALPHA, NOT_TESTABLE

__all__ = ["beside_sentence", "components_section", "effects_section", "in_short", "questions", "synergy_sentence"]

_ASKED = ("psnr", "haarpsi")


def synergy_sentence(row: Any) -> str:
    """Whether the gain of both exceeds the sum of the gains.

    Args:
        row: of `effects.effects`, that of "spatial + frequency".
    """
    heading, unit = RESPONSES[row.response]
    verdicts = ("is not distinguishable from", "exceeds", "falls short of")
    said = judged(row.value, row.ci_low, row.ci_high, unit)
    return (
        f"{row.dataset}, {row.task}: in {heading} the gain of both {verdicts[side(row)]} the sum of the gains: {said}."
    )


def beside_sentence(frequency: Any, spatial: Any) -> str:
    """Whether both parts do better than either alone.

    Args:
        frequency, spatial: rows of `effects.effects`, what each gains beside the other.
    """
    heading, unit = RESPONSES[frequency.response]
    verdicts = [side(row) for row in (frequency, spatial)]
    if min(verdicts) > 0:
        verdict = "both are better than either alone"
    elif max(verdicts) > 0:
        verdict = "both are better than one of them and not than the other"
    elif min(verdicts) < 0:
        verdict = "both are worse than one alone"
    else:
        verdict = "both are not distinguishable from either alone"
    said = [judged(row.value, row.ci_low, row.ci_high, unit) for row in (frequency, spatial)]
    changes = f"frequency beside spatial changes it by {said[0]}, spatial beside frequency by {said[1]}"
    return f"{frequency.dataset}, {frequency.task}: in {heading} {verdict}; {changes}."


def in_short(effects: pd.DataFrame, gains: pd.DataFrame | None = None) -> Iterator[str]:
    """The two questions of an ablation, answered by counting tasks.

    Args:
        effects: as `effects.effects` or `components.together` gives it; may be empty.
        gains: as `components.components` gives it.
    """
    asked: list[tuple[str, pd.DataFrame, tuple[str, str]]] = []
    if gains is not None:
        gained = gains[gains.ci_low.notna()].rename(columns={"gain": "value"})
        for name in gained.setting.unique():
            asked.append((f"{name}, against no conditioning", gained[gained.setting == name], ("better", "worse")))
    asked += [
        ("the gain of both, against the sum of the gains", effects[effects.effect == SYNERGY], ("more", "less")),
        ("frequency beside spatial", effects[effects.effect == FREQUENCY_BESIDE], ("better", "worse")),
        ("spatial beside frequency", effects[effects.effect == SPATIAL_BESIDE], ("better", "worse")),
    ]
    said = []
    for response in _ASKED:
        for words, rows, verdicts in asked:
            of = list(rows[rows.response == response].itertuples())
            if of:
                said.append(f"- {RESPONSES[response][0]}, {words}: {tally(of, verdicts)}.")
    if said:
        yield "## In short"
        yield "\n".join(said)


def components_section(gains: pd.DataFrame) -> Iterator[str]:
    """One table per task: mean of every setting and its gain over no conditioning."""
    yield "## What each part gains over no conditioning"
    yield f"Mean over images; in brackets the gain per image with its interval. {_stars(gains)}"
    for (dataset, task), group in gains.groupby(["dataset", "task"], sort=False):
        rows = []
        for setting in group.setting.unique():
            of = {row.response: row for row in group[group.setting == setting].itertuples()}
            rows.append([setting, *(_gain(of[response]) for response in RESPONSES)])
        yield table(f"{dataset}, {task}", ["setting", *heads()], rows)


def _stars(gains: pd.DataFrame) -> str:
    """What a star means, or why there can be none."""
    test = "a paired permutation test, corrected by Holm over the settings of a column"
    said = []
    if (gains.p_smallest < ALPHA).any():
        said.append(f"* where p < {ALPHA:g} in {test}.")
    few = gains[(gains.p_smallest >= ALPHA) & gains.ci_low.notna()]
    for (dataset, task), group in few.groupby(["dataset", "task"], sort=False):
        first = group.iloc[0]
        said.append(
            f"{dataset}, {task}: {NOT_TESTABLE} for a star: with {first.images} of them and {group.setting.nunique()} "
            f"comparisons p is {first.p_smallest:.3f} at the least in {test}."
        )
    return " ".join(said)


def effects_section(found: pd.DataFrame) -> Iterator[str]:
    """Main effects and interactions per task, and which weight changes which signature."""
    yield "## Main effects and interactions"
    yield (
        "From a full factorial within images: each entry is the change from the smallest to the largest weight, mean "
        "over the levels of the others; an interaction is the change of one weight's effect by the other's. "
        f"* where p < {ALPHA:g} in Student's test of the same contrast, not corrected for the number of effects; "
        "effects.csv also has the p of the F test over all levels, `p_f`."
    )
    for (dataset, task), group in found.groupby(["dataset", "task"], sort=False):
        rows = []
        for effect in group.effect.unique():
            of = {row.response: row for row in group[group.effect == effect].itertuples()}
            rows.append([effect, *(_effect(of[response]) for response in RESPONSES)])
        yield table(f"{dataset}, {task}", ["effect", *heads()], rows)
    yield "### Which weight changes which failure?"
    yield "\n".join(_changes(found))


def questions(found: pd.DataFrame, *, from_nothing: bool) -> Iterator[str]:
    """The sentences that answer what both parts do together, task by task.

    Args:
        found: as `effects.effects` or `components.together` gives it.
        from_nothing: whether the smallest weights leave no condition at all.
    """
    rows: dict[tuple[str, str, str, str], Any] = {
        (str(row.dataset), str(row.task), str(row.response), str(row.effect)): row for row in found.itertuples()
    }
    asked = [key[:3] for key in rows if key[2] in _ASKED and key[3] == SYNERGY]
    if not asked:
        return
    yield "## Does the gain of both exceed the sum of the gains?"
    if from_nothing:
        yield (
            "The smallest weights are 0 for all, which is the prior alone: it has not seen y. A gain counted from "
            "there includes\nthat y is seen at all, which either part brings, so that the sum of two gains counts it "
            "twice. The question after this\none starts from one part that is there."
        )
    yield "\n".join(f"- {synergy_sentence(rows[(*key, SYNERGY)])}" for key in asked)
    yield "## Are both better than either alone?"
    yield "\n".join(
        f"- {beside_sentence(rows[(*key, FREQUENCY_BESIDE)], rows[(*key, SPATIAL_BESIDE)])}" for key in asked
    )


def _changes(found: pd.DataFrame) -> Iterator[str]:
    """Which weight changes which signature: those main effects whose interval leaves out zero."""
    rows: list[Any] = list(found[~found.effect.str.contains("[x+] |beside", regex=True)].itertuples())
    for dataset, task in dict.fromkeys((row.dataset, row.task) for row in rows):
        for name, (heading, unit, _) in SIGNATURES.items():
            of = [row for row in rows if (row.dataset, row.task, row.response) == (dataset, task, name)]
            clear = [row for row in of if side(row)]
            said = "; ".join(f"{row.effect} by {judged(row.value, row.ci_low, row.ci_high, unit)}" for row in clear)
            yield f"- {dataset}, {task}: {heading} is changed by {said or 'no weight beyond chance'}."


def _gain(row: Any) -> str:
    value = number(row.mean, RESPONSES[row.response][1])
    if not math.isfinite(row.ci_low):
        return value
    return f"{value} ({bare(row.gain, row)})" + ("*" if row.p_holm < ALPHA else "")


def _effect(row: Any) -> str:
    return bare(row.value, row) + ("*" if row.p < ALPHA else "")
