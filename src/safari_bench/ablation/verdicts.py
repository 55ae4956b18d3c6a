"""Verdicts as data: every difference that an ablation looks at, with its interval and the side of zero it is on."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from safari_bench.ablation.components import NOTHING
from safari_bench.ablation.effects import FREQUENCY_BESIDE, SPATIAL_BESIDE, SYNERGY

__all__ = ["COLUMNS", "UNCLEAR", "both", "order", "turned", "verdict", "verdicts"]

HIGHER, LOWER, UNCLEAR = "higher", "lower", "unclear"
COLUMNS = ["dataset", "task", "response", "comparison", "images", "value", "ci_low", "ci_high", "p_holm", "verdict"]
_PLACE = ["dataset", "task"]


def verdict(low: float, high: float) -> str:
    """Whether an interval lies above zero, below it, or does neither (or is NaN)."""
    return HIGHER if low > 0 else LOWER if high < 0 else UNCLEAR


def verdicts(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every comparison in one table, with the columns COLUMNS; p_holm is NaN but for components.

    Args:
        tables: any of components, together, effects, pairs and one ``curve_<key>``, as their modules give them.
    """
    found = []
    for name, table in tables.items():
        if name == "components":
            rows = table[table.setting != NOTHING]
            found.append(rows.assign(comparison=rows.setting + " - " + NOTHING, value=rows.gain))
        elif name in ("together", "effects"):
            found.append(table.assign(comparison=table.effect.replace(SYNERGY, "gain of both - sum of gains")))
        elif name == "pairs":
            said = table.one + " - " + table.other + ", " + table.steps + " zeta"
            found.append(table.assign(comparison=said, value=table.difference))
        elif name.startswith("curve_"):
            key = name.removeprefix("curve_")
            first = table.groupby(_PLACE)[key].transform("min")
            rows = table[table[key] != first]
            words = [f"{key} {at:g} - {key} {least:g}" for at, least in zip(rows[key], first[rows.index], strict=True)]
            found.append(rows.assign(comparison=words, value=rows.change))
    if not found:
        return pd.DataFrame(columns=COLUMNS)
    every = pd.concat(found, ignore_index=True)
    every = every.drop_duplicates([*_PLACE, "response", "comparison"])  # a 2 x 2 factorial of named settings is both
    every["verdict"] = [verdict(low, high) for low, high in zip(every.ci_low, every.ci_high, strict=True)]
    return every.reindex(columns=COLUMNS)


def both(found: pd.DataFrame) -> pd.DataFrame:
    """Whether spatial and frequency together beat either alone in PSNR and HaarPSI: dataset, task, response, both.

    Args:
        found: as `verdicts` gives it.
    """
    rows: list[tuple[Any, ...]] = []
    parts = found[found.comparison.isin([FREQUENCY_BESIDE, SPATIAL_BESIDE]) & found.response.isin(["psnr", "haarpsi"])]
    for place, group in parts.groupby([*_PLACE, "response"], sort=False):
        sides = list(group.verdict)
        better = sides.count(HIGHER)
        word = UNCLEAR if LOWER not in sides else "worse than one"
        rows.append((*place, ["", "better than one", "better than either"][better] or word))
    return pd.DataFrame(rows, columns=[*_PLACE, "response", "both"])


def order(zetas: pd.DataFrame) -> pd.DataFrame:
    """The settings from best to worst: dataset, task, zeta (the shared one), shared, own, same.

    `own` holds pairs of setting and zeta; `same` says whether both orders agree.

    Args:
        zetas: as `steps.chosen` gives it.
    """
    rows: list[tuple[Any, ...]] = []
    for place, group in zetas.groupby(_PLACE, sort=False):
        ranked = group.sort_values("mean", ascending=False)
        shared, own = ranked[ranked.shared], ranked[ranked.best]
        choices, same = list(zip(own.setting, own.zeta, strict=True)), list(shared.setting) == list(own.setting)
        rows.append((*place, shared.zeta.iloc[0], list(shared.setting), choices, same))
    return pd.DataFrame(rows, columns=[*_PLACE, "zeta", "shared", "own", "same"])


def turned(pairs: pd.DataFrame) -> dict[str, int]:
    """How many HaarPSI differences are clear at one zeta, at each setting's own, and at both with opposite signs.

    Args:
        pairs: as `steps.pairs` gives it.
    """
    rows = pairs[pairs.response == "haarpsi"]
    sides = rows.assign(side=(rows.ci_low > 0).astype(int) - (rows.ci_high < 0).astype(int))
    wide = sides.pivot(index=[*_PLACE, "one", "other"], columns="steps", values="side")
    return {
        "pairs": len(wide),
        "shared": int((wide.shared != 0).sum()),
        "own": int((wide.own != 0).sum()),
        "opposite": int((wide.shared * wide.own < 0).sum()),
    }
