"""`safari-bench study`: what sweeps over psi's weights say of them."""

from collections.abc import Sequence
from pathlib import Path

from safari_bench.cli.schema import ConfigError

__all__ = ["study_runs"]


def study_runs(folders: Sequence[Path]) -> int:
    """safari-bench study RUN [RUN...]: write study.md and what it shows into each run folder.

    Raises:
        ConfigError: no folder, or the package that does the statistics is not installed.
        TableError: see `studies.study`.
    """
    if not folders:
        raise ConfigError("safari-bench study takes run folders of sweeps over guidance.*, got none")
    try:
        from safari_bench.ablation import study
    except ImportError as error:
        raise ConfigError(f"safari-bench study needs a package that is not installed ({error}); make setup") from error
    for folder in folders:
        print(f"in {folder}: {', '.join(path.name for path in study(folder))}")
    return 0
