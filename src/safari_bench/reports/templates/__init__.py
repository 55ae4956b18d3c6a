"""The sentences of the tables and pages, as Jinja templates."""

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from safari_bench.reports.comparisons import ALPHA, DRAWS, EXACT, NOT_TESTABLE
from safari_bench.reports.statistics import RESAMPLES
from safari_bench.reports.vocabulary import NOTHING

__all__ = ["fill"]

_FACTS = {
    "alpha": f"{ALPHA:.0%}",
    "draws": DRAWS,
    "exact": EXACT,
    "not_testable": NOT_TESTABLE,
    "nothing": NOTHING,
    "resamples": RESAMPLES,
}


def fill(name: str, filters: Mapping[str, Callable[..., str]], **values: Any) -> str:
    """A template of this folder, filled in.

    Args:
        filters: functions that the template uses after "|", beside Jinja's own.
        values: what it names. The settings of the statistics are known to every template.
    """
    environment = Environment(
        loader=PackageLoader("safari_bench.reports"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters)
    return environment.get_template(name).render(**_FACTS, **values)
