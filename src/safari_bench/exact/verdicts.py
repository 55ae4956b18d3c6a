"""Verdicts as data: the best point of every method on every task, and what psi's target, the bound and orders show.

Distances are estimates from few draws, so exact draws do not score 0. What they score is the floor: a method at or
below it is not told apart from exact draws (mark "<="), and the cheaper of two such points is the better one. Where
only a lower bound on the distance is known, the mark is ">=".
"""

import math
from typing import Any

import pandas as pd

from safari_bench.exact.convergence import CLAIMS
from safari_bench.exact.study import EXACT

__all__ = ["bound_verdicts", "explained", "order_table", "psi_verdicts", "verdict", "verdicts"]

_PLACE = ["section", "task"]
_KEPT = ["steps", "nfe", "n_backward", "mean_error_sd", "sd_ratio", "coverage", "weight_error"]
#: a W2 below this is called none
_SAME = 0.005


def verdict(row: Any) -> str:
    """One word for a point whose status is "ok"; row: of exact.csv, or of mixture.csv, which has `weights`."""
    if "weights" in row:
        exact, found = (max(map(float, row[name].split())) for name in ("exact_weights", "weights"))
        wrong = row["weight_error"] > max(3 * row["weight_floor"], 0.1)
        return "one mode" if found > 0.98 >= exact else "weights wrong" if wrong else "weights ok"
    if row["mean_error_sd"] > 1:
        return "off"
    if not 0.5 <= row["sd_ratio"] <= 1.5:
        return "collapsed" if row["sd_ratio"] < 1 else "too wide"
    fits = 0.8 <= row["sd_ratio"] <= 1.25 and 0.85 <= row["coverage"] <= 0.95 and row["mean_error_sd"] < 0.5
    return "calibrated" if fits else "near"


def verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per section, task and method, at the number of steps with the least distance.

    Args:
        rows: exact.csv or mixture.csv.

    Returns:
        section, task, method, verdict (or why there is none), mark, distance (W2 over the posterior's total sd, or
        sliced W over that of exact draws), change (distance at most steps over that at fewest), and scores and cost.
    """
    score = "sliced_w" if "sliced_w" in rows else "w2"
    found = []
    for place, group in rows.groupby(_PLACE, sort=False):
        scores = [name for name in (score, f"{score}_floor") if name in rows]
        floor = float(group.loc[group.method == EXACT, scores].to_numpy().max())
        for method, line in group.groupby("method", sort=False):
            point = {"section": place[0], "task": place[1], "method": method, "verdict": line.status.iloc[-1]}
            worked = line[line.status == "ok"]
            if len(worked):
                worked = worked.assign(level=worked[score].clip(lower=floor))
                point |= _best(worked, score, floor, exact=method == EXACT)
            found.append(point)
    return pd.DataFrame(found)


def _best(worked: pd.DataFrame, score: str, floor: float, *, exact: bool) -> dict[str, Any]:
    """Of points as near, the one with the best mode weights, then the one of fewest steps."""
    order = [name for name in ("level", "weight_error", "steps") if name in worked]
    row = worked.sort_values(order, kind="stable").iloc[0].to_dict()
    line = worked.sort_values("steps")
    first, last = line.level.iloc[0], line.level.iloc[-1]
    mark = "" if exact else "<=" if row[score] <= floor else ">=" if row.get(f"{score}_kind") == "bound" else ""
    return {
        "verdict": verdict(row),
        "mark": mark,
        "distance": (floor if mark == "<=" else row[score]) / row.get(f"{score}_floor", 1.0),
        "change": last / first if len(line) > 1 and first > 0 else math.nan,
        **{name: row[name] for name in _KEPT if name in row},
    }


def psi_verdicts(targets: pd.DataFrame) -> pd.DataFrame:
    """Per psi the extremes over tasks of psi_target.csv, and what mostly differs from the posterior.

    "strength" can be mended by gamma, "shape" cannot; "nothing" where psi's target is the posterior.
    """
    found = []
    for psi, group in targets.groupby("psi", sort=False):
        weighed, same = (group[group.scale == scale] for scale in ("as weighed", "same strength"))
        most, left = weighed.w2.max(), same.w2.max()
        line: dict[str, Any] = {"psi": psi}
        for name, of in (("as weighed", weighed), ("same strength", same)):
            line |= {
                f"sd ratio, {name}": (of.sd_ratio.min(), of.sd_ratio.max()),
                f"mean error, {name}": of.mean_error_sd.max(),
                f"W2, {name}": of.w2.max(),
            }
        line["coverage"] = weighed.coverage.iloc[(weighed.coverage - 0.9).abs().argmax()]
        line["differs"] = "nothing" if most < _SAME else "strength" if 1 - left / most > 0.5 else "shape"
        found.append(line)
    return pd.DataFrame(found)


def explained(targets: pd.DataFrame, found: pd.DataFrame, guided: dict[str, str]) -> pd.DataFrame:
    """How much of a guided sampler's distance psi's target explains, on tasks that both tables have.

    Args:
        found: `verdicts` of exact.csv; of several sections the first counts.
        guided: methods that step along the gradient of ||psi(y) - psi(A x0_hat)||, and the name of their psi.

    Returns:
        method, task, psi, mark, w2, nfe, least and most (W2 of psi's target over the two scales), own: what is the
        sampler's at least, by the triangle inequality.
    """
    rows = []
    for method, psi in guided.items():
        for task, of in targets[targets.psi == psi].groupby("task", sort=False):
            best = found[(found.method == method) & (found.task == task)].dropna(subset=["distance"])
            for row in best.head(1).itertuples():
                least, most = of.w2.min(), of.w2.max()
                own = max(row.distance - most, 0.0)
                rows.append((method, task, psi, row.mark, row.distance, row.nfe, least, most, own))
    return pd.DataFrame(rows, columns=["method", "task", "psi", "mark", "w2", "nfe", "least", "most", "own"])


def bound_verdicts(bounds: pd.DataFrame) -> pd.DataFrame:
    """Per gamma: points, violated, the tightest point, and where the bound is informative.

    A point counts as below where the right side is below the likelihood's largest value, and as informative where the
    left side is more than a hundredth of the right there too.
    """
    found = []
    for gamma, group in bounds.groupby("gamma", sort=False):
        tightest = group.iloc[int(group.log10_ratio.argmax())]
        below = group[group.log10_right + group.log10_z < 0]
        informative = below[below.log10_ratio > -2]
        found.append(
            {
                "gamma": gamma,
                "points": len(group),
                "violated": int((group.log10_ratio > 0).sum()),
                "log10_ratio": tightest.log10_ratio,
                "tightest": f"t = {tightest.t}, {tightest.task}, {tightest.psi}",
                "below": len(below),
                "informative": len(informative),
                "times": f"{informative.t.min()} to {informative.t.max()}" if len(informative) else "",
            }
        )
    return pd.DataFrame(found)


def order_table(orders: pd.DataFrame) -> pd.DataFrame:
    """Per claim and task: cov_error by number of steps, last order, last mean error, and whether it should converge."""
    wide: pd.DataFrame = orders.pivot(index=["claim", "task"], columns="steps", values="cov_error")
    last = orders[orders.steps == orders.steps.max()].set_index(["claim", "task"])
    should = {claim: "yes" if of.exact else "no" for claim, of in CLAIMS.items()}
    wide = wide.assign(order=last.order, mean_error=last.mean_error).loc[last.index].reset_index()
    wide.insert(2, "should", wide.claim.map(should).fillna(""))
    return wide
