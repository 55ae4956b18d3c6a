"""What a finished cell looks like on disk.

A cell is one (dataset, task, sampler, run id). It lives in results/<name>/<dataset>/<task>/<sampler>/<run_id>/:

===================  ==============================================================================================
``run.json``         the resolved configuration, versions, machine and image ids; written once, when the cell is opened
``rows/NNNNNN.json`` one finished batch: a list of rows, one per image
``images/*.png``     the restorations of a batch, written by the runner before the batch's rows
``rows.csv``         every row, in the dataset's order; in place only when every image has a row. rows/ is then removed
``set_scores.json``  scores of all pictures as one set, such as FID, with their number; see `metrics.SetScores`
``scored.json``      what scored the pictures again, where somebody did: versions, weights, time
===================  ==============================================================================================

`archive` packs the cells of a run folder into two files, and `tree` knows all paths.

Every file appears whole or not at all, and a process killed at any moment loses at most the batch in flight. A row with
status ``failed`` counts as missing, so the next run tries that image again and its new row replaces the failed one.
"""

from safari_bench.ledger.archive import Stored, cells, latest, pack
from safari_bench.ledger.cell import Cell, CellBusy
from safari_bench.ledger.files import LedgerError, make_folder, write_atomic
from safari_bench.ledger.locks import exclusive
from safari_bench.ledger.rows import COST, HEAD, TEXT
from safari_bench.ledger.run import SCHEMA, attach, attached
from safari_bench.ledger.spec import flatten, run_id
from safari_bench.ledger.tree import Place, find_run, places

__all__ = ["COST", "HEAD", "SCHEMA", "TEXT", "Cell", "CellBusy", "LedgerError", "Place", "Stored", "attach", "attached"]
__all__ += [
    "cells",
    "exclusive",
    "find_run",
    "flatten",
    "latest",
    "make_folder",
    "pack",
    "places",
    "run_id",
    "write_atomic",
]
