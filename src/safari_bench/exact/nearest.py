"""Which row of a method is the nearest to the posterior, and how its distance is written.

Distances are estimates from few draws: exact draws do not score 0, and an unbiased estimate of a small one is cut off
at 0. So what exact draws score is the least that can be told: at or below it scores are ties, the cheaper row is the
better one, and "<=" stands before the exact draws' score. Where a distance is a lower bound, ">=" stands before it.
"""

from collections.abc import Mapping, Sequence

from safari_bench.exact.markdown import number
from safari_bench.exact.rows import Row, grouped
from safari_bench.exact.study import EXACT

__all__ = ["best", "distance", "floors", "level", "steps", "tied"]


def floors(rows: Sequence[Row], score: str) -> dict[str, float]:
    """What exact draws score, by task: in a mixture the larger of one set and the mean of several."""
    found = {}
    for (task,), of_task in grouped([row for row in rows if row["method"] == EXACT], "task").items():
        found[str(task)] = max(float(row.get(name, 0.0)) for row in of_task for name in (score, f"{score}_floor"))
    return found


def level(row: Row, score: str, floor: float) -> float:
    """The score, or the least that can be told."""
    return max(float(row[score]), floor)


def tied(row: Row, score: str, floor: float) -> bool:
    """Whether the row is not told apart from exact draws."""
    return float(row[score]) <= floor


def best(rows: Sequence[Row], score: str, floor: float) -> Row | None:
    """Of the rows that worked, the nearest; of several as near the one whose modes are right, then of fewest steps."""
    worked = [row for row in rows if row["status"] == "ok"]

    def rank(row: Row) -> tuple[float, float, int]:
        return level(row, score, floor), float(row.get("weight_error", 0.0)), steps(row)

    return min(worked, key=rank) if worked else None


def distance(row: Row, score: str, floor: float, unit: float = 1.0) -> str:
    """The score over a unit, with "<=" or ">=" where it is no more than that."""
    if row["method"] == EXACT:
        return number(row[score] / unit)
    if tied(row, score, floor):
        return f"<= {number(floor / unit)}"
    return f">= {number(row[score] / unit)}" if row.get(f"{score}_kind") == "bound" else number(row[score] / unit)


def steps(row: Mapping[str, object]) -> int:
    """Its number of steps."""
    return int(str(row["steps"]))
