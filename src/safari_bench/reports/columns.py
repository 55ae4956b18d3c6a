"""What differs between cells as columns of the CSV files: one for each key of a facet or of a sampler."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from safari_bench.ledger import flatten
from safari_bench.reports.facets import number
from safari_bench.reports.records import Line, Record
from safari_bench.reports.variants import value_text

__all__ = ["keys", "of_record", "settings_name", "tidy", "varied"]

#: keys that have a column of another name in every row
_KNOWN = {"task.sigma": "sigma", "task.sigma_range": "sigma_range", "prior.name": "prior", "dataset.name": "dataset"}


def keys(lines: Sequence[Line]) -> list[str]:
    """The dotted keys that set tables of one task apart, over all lines."""
    return list(dict.fromkeys(key for line in lines for key in line.first.facet))


def varied(lines: Sequence[Line]) -> list[str]:
    """The dotted keys that set configurations of one sampler in one table apart, over all lines."""
    return list(dict.fromkeys(key for line in lines for key in line.first.varied))


def of_record(record: Record, lines: Sequence[Line]) -> dict[str, Any]:
    """Column -> the cell's own value of every such key, and the name of its settings where those differ."""
    own = flatten({part: record.spec.get(part) for part in ("dataset", "task", "prior", "precision")})
    own |= record.varied
    found = {_KNOWN.get(key, key): _plain(own.get(key)) for key in [*varied(lines), *keys(lines)]}
    settings = {settings_name(other) for line in lines for other in line.records}
    return found | ({"settings": settings_name(record)} if len(settings) > 1 else {})


def settings_name(record: Record) -> str:
    """The name of the settings that a cell ran with, such as "tuned"; "" where run.json does not say."""
    return str(record.run.get("settings", {}).get("name", ""))


def tidy(frame: pd.DataFrame, lines: Sequence[Line]) -> pd.DataFrame:
    """A table for a CSV file: the headings of its column "task" become the task and one column for each facet's key.

    A column "sampler" is followed by one for each key that several configurations of a sampler differ in.
    """
    if "task" not in frame:
        return frame
    frame, named = _with_varied(frame, lines), keys(lines)
    if not named:
        return frame
    first = {(line.first.dataset, line.first.heading): line.first for line in reversed(lines)}
    places = [first[place] for place in zip(frame.dataset, frame.task, strict=True)]
    found = frame.assign(task=[record.task for record in places])
    after = list(found.columns).index("task") + 1
    for key in named:
        column = _KNOWN.get(key, key)
        if column not in found:
            found.insert(after, column, [_plain(record.facet.get(key)) for record in places])
            after += 1
    return found


def _with_varied(frame: pd.DataFrame, lines: Sequence[Line]) -> pd.DataFrame:
    if "sampler" not in frame or not (named := varied(lines)):
        return frame
    of = {(line.first.dataset, line.first.heading, line.first.label): line.first.varied for line in lines}
    values = [of[place] for place in zip(frame.dataset, frame.task, frame.sampler, strict=True)]
    found, after = frame.copy(), list(frame.columns).index("sampler") + 1
    for number_of_key, key in enumerate(named):
        found.insert(after + number_of_key, key, [_plain(own.get(key)) for own in values])
    return found


def _plain(value: Any) -> Any:
    """A number where it is one, also for the size of a square; text for other lists."""
    found = number(value)
    if found is not None:
        return int(found) if found.is_integer() and not isinstance(value, float) else found
    return "x".join(map(value_text, value)) if isinstance(value, list | tuple) else value
