"""`safari-bench tune`: settings chosen on tuning images, from a finished sweep or from the grids of conf/search."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from safari_bench.cli import search, settings, tuning
from safari_bench.cli.schema import ConfigError, root

__all__ = ["parser", "tune"]


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(
        prog="safari-bench tune",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Choose the settings of every sampler and task that score best on tuning images.\n\n"
        "  tune RUN [METRIC [KEY ...]]        from a finished sweep over tuning images\n"
        "  tune --prior FILE [key=value ...]  run the grids of conf/search for a file of conf/tuned first; resumes\n"
        "  tune --draw --task T --sampler S   run an Optuna search of conf/search first",
        epilog="Writes tuned.yaml into the run folder and prints what differs from conf/tuned. Nothing that ships\n"
        "changes unless --into names it. Example: safari-bench tune --prior photos64 --sampler dps --task sr_x4",
    )
    found.add_argument("words", nargs="*", metavar="RUN [METRIC [KEY ...]]", help="or key=value for the sweeps")
    found.add_argument("--prior", metavar="FILE", help="a file of conf/tuned, usually named as its prior")
    found.add_argument("--draw", action="store_true", help="let Optuna draw instead of running a grid")
    found.add_argument("--task", default="", help="only this task")
    found.add_argument("--sampler", default="", help="only this sampler")
    found.add_argument("--into", metavar="NAME", help="also write conf/tuned/NAME.yaml, for settings=NAME")
    return found


def tune(arguments: Sequence[str]) -> int:
    """The verb.

    Raises:
        ConfigError: words that make no sense together, or a name that is not there.
        TableError: see `reports.choose`.
    """
    asked = parser().parse_intermixed_args(list(arguments))
    if asked.into is not None and not settings.is_name(asked.into):
        raise ConfigError(f"--into takes a name of letters, digits, _ . and -, got {asked.into!r}; e.g. photos64_mine")
    if not asked.prior and not asked.draw:
        if not asked.words:
            raise ConfigError("safari-bench tune takes a run folder, --prior or --draw; see safari-bench tune --help")
        run, *rest = asked.words
        return _write(_folder(run), rest[0] if rest else "auto_of_run", rest[1:], asked.into, "")
    keys = [word for word in asked.words if "=" in word]
    if len(keys) < len(asked.words):
        raise ConfigError(f"--prior and --draw take key=value only, got {' '.join(asked.words)}")
    if asked.draw:
        if not asked.task or not asked.sampler:
            raise ConfigError("--draw needs --task and --sampler; e.g. --draw --task sr_x4 --sampler safari")
        name = f"tune_{asked.task}_{asked.sampler}"
        words = ["-m", "experiments=tune_optuna", f"name={name}", f"task={asked.task}", *search.draw(asked.sampler)]
        code = _sweep([*words, *keys])
    else:
        name, code = f"tuning_{asked.prior}", 0
        found = list(search.grids(asked.prior, asked.sampler, asked.task))
        if not found:
            raise ConfigError(f"conf/search has no grid of {asked.prior} for {asked.sampler or 'this'} {asked.task}")
        for number, (sampler, words) in enumerate(found, 1):
            print(f"grid {number} of {len(found)}, {sampler}: {' '.join(words[1:])}")
            code = max(code, _sweep(["-m", f"experiments=tune_{asked.prior}", *words, *keys]))
    name, output = (_typed(keys, "name") or name), (_typed(keys, "output") or "results")
    return max(code, _write(Path(output) / name, "auto_of_run", [], asked.into, asked.prior or ""))


def _sweep(words: Sequence[str]) -> int:
    """Run a sweep and return its exit code. In a process of its own: a launcher's workers outlive their sweep."""
    return subprocess.run([sys.executable, "-m", "safari_bench", *words], check=False).returncode


def _write(run: Path, metric: str, also: Sequence[str], into: str | None, file: str) -> int:
    """Write RUN/tuned.yaml, and conf/tuned/<into>.yaml if asked; print what differs from what is there."""
    metric = tuning.found_with(run) if metric == "auto_of_run" else metric
    found = tuning.chosen(run, metric, also)
    tuning.write(run / "tuned.yaml", found)
    print(f"wrote {run / 'tuned.yaml'}: {sum(map(len, found.values()))} settings, best mean {metric}")
    for line in tuning.difference(found, into or file) if into or file else []:
        print(f"  {line}")
    if into:
        checkout = (root() / "pyproject.toml").is_file()  # an installed package is never written to
        path = (root() if checkout else Path.cwd()) / "conf" / "tuned" / f"{into}.yaml"
        tuning.write(path, found)
        print(f"wrote {path}; use it with settings={into}")
    return 0


def _typed(words: Sequence[str], key: str) -> str:
    return next((word.partition("=")[2] for word in words if word.startswith(f"{key}=")), "")


def _folder(word: str) -> Path:
    folder = Path(word)
    return Path("results") / folder if not folder.is_dir() and (Path("results") / folder).is_dir() else folder
