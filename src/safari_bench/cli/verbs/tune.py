"""safari-bench tune: settings chosen on tuning images, from a finished sweep or from the grids of conf/search."""

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from safari_bench.errors import ConfigError

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "choose the settings that score best on tuning images"
DESCRIPTION = """
Choose the settings of every sampler and task that score best on tuning images. Test images are refused.

  tune RUN [METRIC [KEY ...]]                  from a finished sweep over tuning images
  tune --prior FILE [key=value ...]            run the grids of conf/search for a file of conf/tuned first; resumes
  tune --draw --task T --sampler S [key=value] run an Optuna search of conf/search first

Writes tuned.yaml into the run folder and prints what differs from conf/tuned. Nothing that ships changes unless --into
names it.
"""
EXAMPLE = "safari-bench tune --prior photos64 --sampler dps --task sr_x4"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("words", nargs="*", metavar="RUN [METRIC [KEY ...]]", help="or key=value for the sweeps")
    parser.add_argument("--prior", metavar="FILE", help="a file of conf/tuned, usually named as its prior")
    parser.add_argument("--draw", action="store_true", help="let Optuna draw instead of running a grid")
    parser.add_argument("--task", default="", help="only this task")
    parser.add_argument("--sampler", default="", help="only this sampler")
    parser.add_argument("--into", metavar="NAME", help="also write conf/tuned/NAME.yaml, for settings=NAME")


def main(args: Namespace) -> int:
    """Run what is asked for, then choose and write.

    Raises:
        ConfigError: words that make no sense together, or a name that is not there.
        TableError: see `reports.choose`.
    """
    from safari_bench.cli import settings
    from safari_bench.ledger import find_run

    if args.into is not None and not settings.is_name(args.into):
        raise ConfigError(f"--into takes a name of letters, digits, _ . and -, got {args.into!r}; e.g. photos64_mine")
    if args.prior or args.draw:
        return _searched(args)
    if not args.words:
        raise ConfigError("safari-bench tune takes a run folder, --prior or --draw; see safari-bench tune --help")
    run, *rest = args.words
    return _write(find_run(run), rest[0] if rest else None, rest[1:], args.into, None)


def _searched(args: Namespace) -> int:
    from safari_bench.cli import search

    keys = [word for word in args.words if "=" in word]
    if len(keys) < len(args.words):
        raise ConfigError(f"--prior and --draw take key=value only, got {' '.join(args.words)}")
    if args.draw:
        if not args.task or not args.sampler:
            raise ConfigError("--draw needs --task and --sampler; e.g. --draw --task sr_x4 --sampler safari")
        name = f"tune_{args.task}_{args.sampler}"
        words = ["-m", "experiments=tune_optuna", f"name={name}", f"task={args.task}", *search.draw(args.sampler)]
        code = _sweep([*words, *keys])
    else:
        name, code = f"tuning_{args.prior}", 0
        found = list(search.grids(args.prior, args.sampler, args.task))
        if not found:
            raise ConfigError(f"conf/search has no grid of {args.prior} for {args.sampler or 'this'} {args.task}")
        for number, (sampler, words) in enumerate(found, 1):
            print(f"grid {number} of {len(found)}, {sampler}: {' '.join(words[1:])}", flush=True)
            code = max(code, _sweep(["-m", f"experiments=tune_{args.prior}", *words, *keys]))
    name, output = (_typed(keys, "name") or name), (_typed(keys, "output") or "results")
    return max(code, _write(Path(output) / name, None, [], args.into, args.prior))


def _sweep(words: Sequence[str]) -> int:
    """Run a sweep and return its exit code. In a process of its own: a launcher's workers outlive their sweep."""
    return subprocess.run([sys.executable, "-m", "safari_bench", *words], check=False).returncode


def _write(run: Path, metric: str | None, also: Sequence[str], into: str | None, file: str | None) -> int:
    """Write RUN/tuned.yaml, and conf/tuned/<into>.yaml if asked; print what differs from what is there."""
    from safari_bench.cli import tuning
    from safari_bench.cli.conf import root

    metric = tuning.found_with(run) if metric is None else metric
    found = tuning.chosen(run, metric, also)
    tuning.write(run / "tuned.yaml", found)
    print(f"wrote {run / 'tuned.yaml'}: {sum(map(len, found.values()))} settings, best mean {metric}")
    beside = into or file
    for line in tuning.difference(found, beside) if beside else []:
        print(f"  {line}")
    if into:
        checkout = (root() / "pyproject.toml").is_file()  # an installed package is never written to
        path = (root() if checkout else Path.cwd()) / "conf" / "tuned" / f"{into}.yaml"
        tuning.write(path, found)
        print(f"wrote {path}; use it with settings={into}")
    return 0


def _typed(words: Sequence[str], key: str) -> str:
    return next((word.partition("=")[2] for word in words if word.startswith(f"{key}=")), "")
