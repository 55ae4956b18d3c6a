"""Weights & Biases: one run per cell, all of them files below results/<name>/wandb until they are synchronised."""

import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np
import pandas as pd

from safari_bench.ledger import Place
from safari_bench.loggers.contract import LoggerError, Pace, pictures, required, running, score_columns

__all__ = ["WeightsAndBiases", "run_name"]

_SYNC = "wandb sync results/<name>/wandb/offline-run-*"
_PATIENCE = 5.0  # seconds until a host that does not answer counts as out of reach
_MODES = ("auto", "offline", "online")
_OF_WANDB = {"offline": "offline", "dryrun": "offline", "online": "online", "disabled": "disabled"}  # WANDB_MODE
_ROWS = ("image_id", "status", "reason")


class WeightsAndBiases:
    """Progress, summary, configuration and a table of the images of every cell.

    The id of a run is made of the experiment's name and the cell's run id, so that a resumed cell resumes its run. The
    step is thousandths of an image; `progress` is the part of the cell that is done.

    Offline, a resumed cell begins another folder, offline-run-*, with the same id. It is complete by itself: it starts
    with the rows that there were, and its summary and table are of all. `wandb sync` given both takes them in order of
    time, as one run; the older ones may be left out or deleted.

    Args:
        folder: the run folder, results/<name>; all that W&B writes goes below its wandb/, its logs and caches too.
        project: of W&B.
        entity: team or user; None for the key's own.
        mode: offline writes files only, for `wandb sync` later; online sends them too; auto does as the environment
            variable WANDB_MODE says (disabled: nothing at all), and without one goes online where a key is configured
            and W&B answers.
        images: for how many images the table shows restoration and reference.
        every: seconds from one point of `progress` to the next, at least.

    Raises:
        LoggerError: the package is not installed, the mode is unknown, or mode=online cannot work here.
    """

    def __init__(
        self,
        folder: str,
        project: str = "safari_bench",
        entity: str | None = None,
        mode: str = "auto",
        images: int = 64,
        every: float = 5.0,
    ) -> None:
        if mode not in _MODES:
            raise LoggerError(f"logger.wandb.mode: got {mode!r}, expected one of {', '.join(_MODES)}; try offline")
        self._wandb = required("wandb", "wandb", "wandb")
        self.folder = Path(folder).resolve()
        below = self.folder / "wandb"
        below.mkdir(parents=True, exist_ok=True)
        # before its service starts, which reads them once
        os.environ.update(WANDB_SILENT="true", WANDB_CONSOLE="off", WANDB_DIR=str(self.folder))
        os.environ.update({f"WANDB_{what.upper()}_DIR": str(below / what) for what in ("data", "cache", "config")})
        self.project, self.entity, self.images, self.every = project, entity, images, every
        self._may_fall_back = False
        self.mode = self._checked(mode)
        self._now: tuple[Any, Pace] | None = None  # the W&B run of the cell that is followed
        self._step = -1

    def wants(self, cell: Path, run: Mapping[str, Any]) -> bool:
        return self.mode != "disabled" and not self._marker(run).exists()

    @contextmanager
    def follow(self, cell: Path, run: Mapping[str, Any]) -> Iterator[Callable[[pd.DataFrame], None]]:
        """Gives a function that is told all rows there are, after each batch. The W&B run is finished in any case."""
        if self.mode == "disabled":
            yield lambda rows: None
            return
        last = pd.DataFrame()
        following = self._begin(cell, run)
        self._now, self._step = (following, Pace(self.every)), -1

        def tell(rows: pd.DataFrame) -> None:
            nonlocal last
            last = rows
            self._log(running(rows) | {"progress": len(rows) / len(run["ids"])}, float(len(rows)))

        failed = True
        try:
            yield tell
            if len(last):
                following.summary.update(running(last))
                self._log({"rows": self._table(cell, run, last)}, float(len(last)))
            failed = bool(len(last) and (last.status == "failed").any())
        finally:
            self._now = None
            following.finish(exit_code=int(failed))
        if len(last) == len(run["ids"]):
            self._marker(run).parent.mkdir(exist_ok=True)
            self._marker(run).touch()

    def progress(self, done: float, total: int) -> None:
        if self._now and self._now[1].due():
            self._log({"progress": done / total}, done)

    def _log(self, values: Mapping[str, Any], done: float) -> None:
        """At the step of so many images; W&B drops what goes back, such as images that are restored again."""
        step = round(1000 * done)
        if self._now and step >= self._step:
            self._step = step
            self._now[0].log(dict(values), step=step)

    def _marker(self, run: Mapping[str, Any]) -> Path:
        """Exists once a W&B run holds all rows of a cell."""
        return self.folder / "wandb" / "finished" / run_name(run)

    def _begin(self, cell: Path, run: Mapping[str, Any]) -> Any:
        dataset, task, sampler, _ = Place.of(cell).key
        try:
            return self._wandb.init(
                project=self.project,
                entity=self.entity,
                mode=self.mode,
                dir=str(self.folder),
                id=run_name(run),
                name=f"{task} {sampler} {run['run_id']}",
                group=str(run["name"]),
                job_type=task,
                tags=[dataset, task, sampler],
                config={key: value for key, value in run.items() if key != "ids"},
                resume="allow" if self.mode == "online" else None,
                reinit="create_new",
                settings=self._wandb.Settings(init_timeout=30, disable_git=True, save_code=False),
            )
        except self._wandb.Error as error:
            if not self._may_fall_back:
                raise LoggerError(f"W&B did not begin a run: {error}; try logger.wandb.mode=offline") from error
            self.mode = self._offline(f"W&B did not begin a run ({error})")
            return self._begin(cell, run)

    def _table(self, cell: Path, run: Mapping[str, Any], rows: pd.DataFrame) -> Any:
        scores = score_columns(rows)
        table = self._wandb.Table(columns=[*_ROWS, "restored", "reference", *scores])
        for number, (_, row) in enumerate(rows.iterrows()):
            found = pictures(cell, run, row.image_file) if number < self.images else (None, None)
            shown = [self._wandb.Image(str(path)) if path else None for path in found]
            values = [None if np.isnan(row[name]) else float(row[name]) for name in scores]
            table.add_data(*(row[name] for name in _ROWS), *shown, *values)
        return table

    def _checked(self, mode: str) -> str:
        """The mode to use."""
        if mode == "auto":
            mode = _OF_WANDB.get(os.environ.get("WANDB_MODE", ""), mode)
        if mode in ("offline", "disabled"):
            return mode
        host = str(self._wandb.setup().settings.base_url)
        if not _has_key(host):
            if mode == "auto":
                return "offline"
            raise LoggerError(
                f"logger.wandb.mode=online needs a key for {host}, and none is configured; set WANDB_API_KEY or say "
                "wandb login; or use logger.wandb.mode=offline and wandb sync later"
            )
        if not getproxies() and not _reachable(host):
            said = f"W&B at {host} does not answer within {_PATIENCE:g} s"
            if mode == "auto":
                return self._offline(said)
            raise LoggerError(
                f"{said}; use logger.wandb.mode=offline, and later, from a machine with a network: {_SYNC}"
            )
        self._may_fall_back = mode == "auto"
        return "online"

    def _offline(self, why: str) -> str:
        """The mode when W&B cannot be had and nobody insisted: a logger never costs a number."""
        print(f"{why}; logging offline. Later, from a machine with a network: {_SYNC}", file=sys.stderr)
        self._may_fall_back = False
        return "offline"


def run_name(run: Mapping[str, Any]) -> str:
    """The id of a cell's W&B run: its experiment and its run id, without the characters that W&B refuses."""
    return f"{re.sub('[^A-Za-z0-9_.-]', '-', str(run['name']))[:100]}-{run['run_id']}"


def _has_key(host: str) -> bool:
    """Whether W&B would find credentials without asking for them."""
    from requests.utils import get_netrc_auth

    return any(os.environ.get(f"WANDB_{name}") for name in ("API_KEY", "IDENTITY_TOKEN_FILE")) or bool(
        get_netrc_auth(host)
    )


def _reachable(host: str) -> bool:
    """Whether a connection opens in time. In a thread, because looking up a name cannot be told when to give up."""
    opened = threading.Event()

    def connect() -> None:
        parts = urlsplit(host)
        try:
            port = parts.port or (80 if parts.scheme == "http" else 443)
            with socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE):
                opened.set()
        except OSError:
            return

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return opened.is_set()
