"""`safari-bench score`: the saved pictures of a run scored again."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from safari_bench import __version__, machine
from safari_bench.cli.compose import device_of, limit, suite_of
from safari_bench.cli.schema import ConfigError, check, root
from safari_bench.ledger import Place, places
from safari_bench.runner import Rescored, rescore

__all__ = ["score_run"]


def score_run(cfg: DictConfig, folder: Path) -> None:
    """Score every cell of results/<name> with the configuration's metrics; its other groups do not matter.

    Raises:
        ConfigError: see `schema.check`, `compose.suite_of`; also a folder without cells.
        DataError, LedgerError: see `runner.rescore`.
    """
    values = check(cfg)
    cells = [place.folder for place in places(folder)]
    if not cells:
        raise ConfigError(f"{folder} holds no cells; expected a run folder, results/<name>")
    limit(values["compute"])
    device = device_of(values["compute"]["device"])
    suite = suite_of(values["metrics"])
    facts = {"version": __version__, "machine": machine.describe(device, root())}
    for number, cell in enumerate(cells, start=1):
        what = f"[{number}/{len(cells)}] {' '.join(Place.of(cell).key)}"
        _report(what, rescore(cell, suite, facts, device, f"{what} "))


def _report(what: str, outcome: Rescored) -> None:
    said = {"new": outcome.new, "as before": outcome.same, "changed": list(outcome.changed)}
    parts = [f"{word}: {', '.join(names)}" for word, names in said.items() if names]
    print(f"{what}: {outcome.images} pictures; {'; '.join(parts) or 'no metric'}")
    for name, most in outcome.changed.items():
        print(
            f"  {name} differs by up to {most:.3g} from what the rows held: another machine or version scored them, or "
            "the pictures are others; scored.json says what scored them now",
            file=sys.stderr,
        )
    for note in outcome.notes:
        print(f"  {note}", file=sys.stderr)
