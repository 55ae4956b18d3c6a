"""The Markdown page of a study. Every sentence that states a result is made from the numbers beside it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from tabulate import tabulate

from safari_bench.studies.effects import FREQUENCY_BESIDE, SPATIAL_BESIDE, SYNERGY
from safari_bench.studies.frame import RESPONSES, SIGNATURES

__all__ = ["beside_sentence", "components_section", "curve_section", "effects_section", "judged", "signatures_section"]
__all__ += ["synergy_sentence"]

_DIGITS = {"dB": 2, "": 3}


def judged(value: float, low: float, high: float, unit: str) -> str:
    """A difference with its interval, and on which side of zero it is."""
    digits = _DIGITS[unit]
    ends = f"[{low:+.{digits}f}, {high:+.{digits}f}]" if math.isfinite(low) else "no interval"
    return f"{value:+.{digits}f}{' ' + unit if unit else ''} {ends}"


def synergy_sentence(row: Any) -> str:
    """Whether the gain of both exceeds the sum of the gains.

    Args:
        row: of `effects.effects`, that of "spatial + frequency".
    """
    heading, unit = RESPONSES[row.response]
    said = judged(row.value, row.ci_low, row.ci_high, unit)
    if not math.isfinite(row.ci_low) or row.ci_low <= 0 <= row.ci_high:
        verdict = "is not distinguishable from the sum of the gains"
    else:
        verdict = "exceeds the sum of the gains" if row.value > 0 else "falls short of the sum of the gains"
    return f"{row.dataset}, {row.task}: in {heading} the gain of both {verdict}: {said}."


def beside_sentence(frequency: Any, spatial: Any) -> str:
    """Whether both parts do better than either alone.

    Args:
        frequency, spatial: rows of `effects.effects`, what each gains beside the other.
    """
    heading, unit = RESPONSES[frequency.response]
    verdicts = [(row.ci_low > 0) - (row.ci_high < 0) for row in (frequency, spatial)]
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


def components_section(table: pd.DataFrame) -> Iterator[str]:
    """One table per task: mean of every setting and, where it matters, its gain over no conditioning."""
    yield "## What each part gains over no conditioning"
    yield "Mean over images; in brackets the gain per image with its 95 % interval, * where p < 0.05 after Holm."
    for (dataset, task), group in table.groupby(["dataset", "task"], sort=False):
        rows = []
        for setting in group.setting.unique():
            of = {row.response: row for row in group[group.setting == setting].itertuples()}
            rows.append([setting, *(_gain(of[response]) for response in RESPONSES)])
        yield _table(f"{dataset}, {task}", ["setting", *_heads()], rows)


def effects_section(table: pd.DataFrame, *, from_nothing: bool) -> Iterator[str]:
    """Main effects, interactions and synergy per task, and the sentences that answer the question of the factorial.

    Args:
        from_nothing: whether the smallest weights leave no condition at all.
    """
    yield "## Main effects and interactions"
    yield (
        "From a full factorial within images: each entry is the change from the smallest to the largest weight, mean "
        "over the levels of the others, with its 95 % interval over images; an interaction is the change of one "
        "weight's effect by the other's. * where p < 0.05 (repeated-measures analysis of variance, not corrected for "
        "the number of effects). Intervals take images as independent, which crops of one photograph are not."
    )
    for (dataset, task), group in table.groupby(["dataset", "task"], sort=False):
        rows = []
        for effect in group.effect.unique():
            of = {row.response: row for row in group[group.effect == effect].itertuples()}
            rows.append([effect, *(_effect(of[response]) for response in RESPONSES)])
        yield _table(f"{dataset}, {task}", ["effect", *_heads()], rows)
    found: dict[tuple[str, str, str, str], Any] = {
        (str(row.dataset), str(row.task), str(row.response), str(row.effect)): row for row in table.itertuples()
    }
    asked = [key[:3] for key in found if key[2] in ("psnr", "haarpsi") and key[3] == SYNERGY]
    if asked:
        yield "### Does the gain of both exceed the sum of the gains?"
        if from_nothing:
            yield (
                "The smallest weights are 0 for all, which is the prior alone: it has not seen y. Whichever part comes "
                "first brings y in\nand gains most of what there is to gain, so that the sum of two such gains is out "
                "of reach almost by construction.\nThe question after this one starts from one part that is there."
            )
        yield "\n".join(f"- {synergy_sentence(found[(*key, SYNERGY)])}" for key in asked)
        yield "### Are both better than either alone?"
        yield "\n".join(
            f"- {beside_sentence(found[(*key, FREQUENCY_BESIDE)], found[(*key, SPATIAL_BESIDE)])}" for key in asked
        )
    if len(table):
        yield "### Which weight changes which failure?"
        yield "\n".join(_changes(table))


def _changes(table: pd.DataFrame) -> Iterator[str]:
    """Which weight changes which signature: those main effects whose interval leaves out zero."""
    rows: list[Any] = list(table[~table.effect.str.contains("[x+] |beside", regex=True)].itertuples())
    for dataset, task in dict.fromkeys((row.dataset, row.task) for row in rows):
        for name, (heading, unit, _) in SIGNATURES.items():
            of = [row for row in rows if (row.dataset, row.task, row.response) == (dataset, task, name)]
            clear = [row for row in of if row.ci_low > 0 or row.ci_high < 0]
            said = "; ".join(f"{row.effect} by {judged(row.value, row.ci_low, row.ci_high, unit)}" for row in clear)
            yield f"- {dataset}, {task}: {heading} is changed by {said or 'no weight beyond chance'}."


def curve_section(means: pd.DataFrame, key: str) -> Iterator[str]:
    """Means along the one key that varies, and where each response is best."""
    yield f"## Along {key}"
    for (dataset, task), group in means.groupby(["dataset", "task"], sort=False):
        rows = []
        for value in sorted(group[key].unique()):
            of = {row.response: row for row in group[group[key] == value].itertuples()}
            rows.append([f"{value:g}", *(_mean(of[response]) for response in RESPONSES)])
        yield _table(f"{dataset}, {task}", [key, *_heads()], rows)


def signatures_section(means: pd.DataFrame) -> Iterator[str]:
    """What each failure looks like in numbers, and the setting that shows least and most of it."""
    yield "## Signatures of failure"
    yield "\n".join(f"- {heading}: {meaning}" for heading, _, meaning in SIGNATURES.values())
    for (dataset, task), group in means.groupby(["dataset", "task"], sort=False):
        said = []
        for name, (heading, unit, _) in SIGNATURES.items():
            of = group[group.response == name]
            ordered = of.sort_values("mean")
            low, high = ordered.iloc[0], ordered.iloc[-1]
            ends = [f"{end['mean']:.{_DIGITS[unit]}f} ({end.label})" for end in (low, high)]
            said.append(f"- {heading}{f' in {unit}' if unit else ''}: from {ends[0]} to {ends[1]}")
        yield f"### {dataset}, {task}\n\n" + "\n".join(said)


def _heads() -> list[str]:
    return [f"{heading}, {unit}" if unit else heading for heading, unit in RESPONSES.values()]


def _mean(row: Any) -> str:
    digits = _DIGITS[RESPONSES[row.response][1]]
    half = (row.ci_high - row.ci_low) / 2
    return f"{row.mean:.{digits}f}" + (f" ± {half:.{digits}f}" if math.isfinite(half) else "")


def _gain(row: Any) -> str:
    digits = _DIGITS[RESPONSES[row.response][1]]
    if not math.isfinite(row.ci_low):
        return f"{row.mean:.{digits}f}"
    star = "*" if row.p_holm < 0.05 else ""
    return f"{row.mean:.{digits}f} ({_bare(row.gain, row)}){star}"


def _effect(row: Any) -> str:
    return _bare(row.value, row) + ("*" if row.p < 0.05 else "")


def _bare(value: float, row: Any) -> str:
    """Without the unit, which stands in the head of the column."""
    return judged(value, row.ci_low, row.ci_high, RESPONSES[row.response][1]).replace(" dB", "")


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"### {title}\n\n" + tabulate(rows, headers=head, tablefmt="pipe", disable_numparse=True)
