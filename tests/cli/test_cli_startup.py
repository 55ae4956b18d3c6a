"""What needs no network imports none: help, refusals and tables are quick."""

import subprocess
import sys
import time

import pytest

from safari_bench.cli import conf, main
from safari_bench.cli.verbs import VERBS, module

#: runs the command, then names on the last line of stdout which heavy packages were imported
DRIVER = """
import sys
from safari_bench.cli import main
code = main(sys.argv[1:])
print(*[name for name in ("torch", "hydra", "omegaconf", "pandas") if name in sys.modules], sep=",")
sys.exit(code)
"""


def imported(*words: str, code: int = 0) -> set[str]:
    done = subprocess.run([sys.executable, "-c", DRIVER, *words], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return set(done.stdout.splitlines()[-1].split(",")) - {""}


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--help"], 0), (["sampler=dps", "-h"], 0), (["tabel"], 2), (["nothing"], 2), (["table", "--nothing"], 2)],
    ids=str,
)
def test_help_and_refusals_import_nothing_heavy(words, code):
    assert imported(*words, code=code) == set()


def test_no_page_of_a_verb_imports_anything_heavy():
    """All in one process: importing Python is most of the cost."""
    every = "".join(f"main(['{verb}', '--help']);" for verb in VERBS)
    done = subprocess.run([sys.executable, "-c", f"from safari_bench.cli import main;{every}import sys;"
                           "assert not {'torch', 'hydra', 'pandas'} & set(sys.modules)"])  # fmt: skip
    assert done.returncode == 0


def test_help_takes_less_than_importing_torch():
    def seconds(*command: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        return time.perf_counter() - begun

    torch, page = seconds("-c", "import torch"), seconds("-m", "safari_bench", "--help")
    print(f"--help {page:.2f} s, import torch {torch:.2f} s, ratio {page / torch:.2f}")
    assert page < 0.6 * torch


def test_tables_need_no_torch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["name=one", "prior=gaussian", "dataset.n=1", "sampler.steps=2", "compute.device=cpu"]
    assert main(words) == 0
    assert imported("table", "one") == {"pandas"}


def test_the_page_lists_every_verb_and_option_in_sixty_lines(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) <= 60
    words = set(said.replace(",", " ").split())
    for group in (*conf.groups(), "experiments"):
        assert words >= {group, *conf.options(group)}
    assert words >= {*VERBS, "study)", "--cfg", "Examples"} and all(module(verb).SUMMARY in said for verb in VERBS)
    assert not {"tuned", "search"} & set(conf.groups())
