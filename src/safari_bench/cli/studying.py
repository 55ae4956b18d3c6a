"""`safari-bench ablate`: what sweeps over psi's weights, or over methods, say."""

import sys
from collections.abc import Sequence
from pathlib import Path

from safari_bench.cli.schema import ConfigError

__all__ = ["ablate_runs"]


def ablate_runs(folders: Sequence[Path]) -> int:
    """safari-bench ablate RUN [RUN...]: write ablation.md, its tables and its figures into each run folder.

    Raises:
        ConfigError: no folder, or the package that does the statistics is not installed.
        TableError: see `ablation.ablate`.
    """
    if not folders:
        raise ConfigError("safari-bench ablate takes run folders of sweeps over guidance.*, got none")
    try:
        from safari_bench.ablation import ablate
    except ImportError as error:
        raise ConfigError(f"safari-bench ablate needs a package that is not installed ({error}); make setup") from error
    for folder in folders:
        files, absent = ablate(folder)
        if absent:
            print(f"{folder}: left out {', '.join(absent)}: metrics=signatures adds them", file=sys.stderr)
        print(f"in {folder}: {', '.join(path.name for path in files)}")
    return 0
