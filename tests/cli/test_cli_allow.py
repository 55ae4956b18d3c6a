"""Options and code of the user's own, and files that must not run any."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from safari_bench.cli import allow, main
from safari_bench.errors import ConfigError

QUICK = ["prior=gaussian", "dataset.n=1", "sampler.steps=2", "compute.device=cpu", "task=denoising"]

MODULE = """
from safari_bench.operators import Denoising
from safari_bench.samplers import Unconditional

open("imported.txt", "a").write("x")


class Mine(Unconditional):
    pass


class Task(Denoising):
    pass


def hook(**options):
    open("called.txt", "w").write("called")
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A module, and a folder of options that name it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("SAFARI_BENCH_ALLOW", raising=False)
    monkeypatch.delitem(sys.modules, "my_module", raising=False)
    Path("my_module.py").write_text(MODULE)
    write("my/conf/sampler/mine.yaml", "name: mine\n_target_: my_module.Mine\nsteps: 2\n")
    write("my/conf/task/own.yaml", "name: own\noperator:\n  _target_: my_module.Task\n")
    yield
    sys.modules.pop("my_module", None)


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


OWN = ["--config-dir", "my/conf", "--allow", "my_module"]


def test_a_sampler_and_a_task_of_ones_own_run():
    assert main([*OWN, *QUICK, "name=a", "sampler=mine"]) == 0
    assert main([*OWN, *QUICK, "name=a", "sampler=mine", "task=own"]) == 0
    assert len(list(Path("results/a").glob("photos/*/mine/*/rows.csv"))) == 2
    assert "SAFARI_BENCH_ALLOW" not in os.environ and os.getcwd() not in sys.path


def test_what_is_not_allowed_is_not_even_imported(capsys):
    for words in ([], ["-m", "seed=0,1"], ["-m", "task=own,denoising"], ["--allow", "my_mod"]):
        assert main(["--config-dir", "my/conf", *QUICK, "sampler=mine", *words]) == 2
        said = capsys.readouterr().err
        assert "_target_: got my_module." in said and "--allow my_module" in said
    assert main(["-m", "--config-dir", "my/conf", *QUICK, "sampler=unconditional,mine"]) == 2
    assert not Path("imported.txt").exists() and not Path("results").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["+metrics.metrics.0.extra._target_=os.system"],
        ["guidance._target_=os.system"],
        ["+hydra.callbacks.mine._target_=my_module.hook"],
        ["+hydra.job_logging.handlers.mine.()=my_module.hook"],
        ["+hydra.job.env_set.SAFARI_BENCH_ALLOW=my_module"],
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", [[], ["-m"]], ids=["one", "sweep"])
def test_no_node_anywhere_may_name_other_code(capsys, words, mode):
    write("my/conf/experiments/evil.yaml", overlay(words[0]))
    assert main([*mode, "--config-dir", "my/conf", *QUICK, "sampler=unconditional", "experiments=evil"]) == 2
    said = capsys.readouterr().err
    assert "error: " in said and "Traceback" not in said
    assert not Path("called.txt").exists() and not Path("results").exists()


def overlay(word: str) -> str:
    """An overlay that does what a word of the command line would."""
    from omegaconf import OmegaConf

    key, _, value = word.lstrip("+").partition("=")
    if key.startswith("metrics"):
        return f"# @package _global_\nmetrics:\n  metrics:\n    - {{_target_: {value}}}\n"
    node = OmegaConf.create({})
    OmegaConf.update(node, key, value, force_add=True)
    return "# @package _global_\n" + OmegaConf.to_yaml(node)


SLURM = "defaults: [{override /hydra/launcher: submitit_slurm}]\nhydra: "
EVIL = {
    "a verb": "prior: {_target_: safari_bench.cli.main.main, arguments: [--allow, os, prior._target_=os.system]}",
    "a writer": "dataset: {_target_: safari_bench.data.manifest_csv}",
    "escaped": "metrics: {weights_dir: '\\${oc.create:{_target_: os.system, command: touch called.txt}}'}",
    "a logger": "hydra: {job_logging: {handlers: {a: {class: logging.os.system, command: touch called.txt}}}}",
    "a callback": "hydra: {callbacks: '${oc.decode:\"{a: {_target_: my_module.hook}}\"}'}",
    "a later callback": "hydra: {callbacks: {a: '${hydra:job.env_set}'}}",
    "the environment": "hydra: {job: {env_set: {CXX: touch called.txt}}}",
    "a folder": "hydra: {sweep: {dir: called.txt}}",
    "a script": SLURM + "{launcher: {setup: [touch called.txt]}}",
    "a line": SLURM + '{launcher: {qos: "a\\n touch called.txt"}}',
    "a key of a sweep": "hydra: {sweeper: {params: {+hydra.job.env_set.CXX: touch called.txt}}}",
    "an option of a sweep": "hydra: {sweeper: {params: {experiments: other}}}",
}
REFUSED = {
    "a verb": "got safari_bench.cli.main.main, expected a class of",
    "a writer": "got safari_bench.data.manifest_csv, expected a class of",
    "escaped": "metrics.weights_dir: got",
    "a logger": "hydra.job_logging: got",
    "a callback": "hydra.callbacks.a._target_: got my_module.hook",
    "a later callback": "hydra.callbacks: ",
    "the environment": "hydra.job.env_set: got",
    "a folder": "hydra.sweep: got",
    "a script": "hydra.launcher.setup: got",
    "a line": "hydra.launcher.qos: got",
    "a key of a sweep": "hydra.sweeper.params.+hydra.job.env_set.CXX",
    "an option of a sweep": "hydra.job.env_set: got",
}


@pytest.mark.parametrize("kind", EVIL)
def test_an_overlay_runs_and_writes_nothing_of_its_own(capsys, kind):
    write("my/conf/experiments/evil.yaml", f"# @package _global_\n{EVIL[kind]}\n")
    write("my/conf/experiments/other.yaml", "# @package _global_\nhydra: {job: {env_set: {CXX: touch called.txt}}}\n")
    sweep = ["-m"] if "sweep" in kind else []
    assert main([*sweep, "--config-dir", "my/conf", *QUICK, "sampler=unconditional", "experiments=evil"]) == 2
    assert REFUSED[kind] in capsys.readouterr().err
    assert not Path("called.txt").exists() and not Path("results").exists()


def test_hydras_own_options_do_not_follow_two_dashes(capsys):
    for word in ("--experimental-rerun=x.pickle", "--config-dir=my/conf", "-cn=x"):
        assert main(["run", *QUICK, "--", word]) == 2
        assert f"got {word}, expected key=value" in capsys.readouterr().err


def test_an_installed_package_opens_a_module(monkeypatch):
    found = [EntryPoint(name="mine", value="my_module", group="safari_bench")]
    monkeypatch.setattr(allow, "entry_points", lambda group: found)
    monkeypatch.syspath_prepend(os.getcwd())
    allow._installed.cache_clear()
    assert allow.find("my_module.Mine", "sampler").__name__ == "Mine"
    allow._installed.cache_clear()


def test_the_walk_reaches_lists_in_lists():
    allow.refuse_foreign({"a": [[{"_target_": "safari_bench.metrics.Psnr"}]]})
    with pytest.raises(ConfigError, match=r"a\.0\.1\.b\._target_: got os\.system"):
        allow.refuse_foreign({"a": [[1, {"b": {"_target_": "os.system"}}]]})


@pytest.mark.parametrize("name", ["safari_bench.machine.os.system", "safari_benchmark.x", "safari_bench.rng.Stream"])
def test_a_name_that_only_begins_like_ours_is_refused(name):
    with pytest.raises(ConfigError):
        allow.find(name, "sampler")


def test_a_misspelt_class_is_met_with_what_was_meant():
    with pytest.raises(ConfigError, match=r"did you mean safari_bench\.samplers\.DPS\?"):
        allow.find("safari_bench.samplers.DPs", "sampler")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_that_name\n", "nothing_of_that_name"),
        ("class Mine(\n", "cannot be imported"),
        ("from safari_bench.operators import Operator\nclass Mine(Operator): pass\n", "lacks"),
        ("Mine = 3\n", "expected a class or a function"),
        ("", "Mine"),
    ],
    ids=["import", "syntax", "abstract", "number", "absent"],
)
def test_code_of_ones_own_that_is_wrong_has_one_clear_message(capsys, text, said):
    Path("my_module.py").write_text(text)
    write("my/conf/task/own.yaml", "name: own\noperator:\n  _target_: my_module.Mine\n")
    code = main([*OWN, *QUICK, "sampler=unconditional", "task=own"])
    printed = capsys.readouterr().err
    assert code == 2 and said in printed and "Traceback" not in printed
    assert sum(line.startswith("error: ") for line in printed.splitlines()) == 1


def test_a_folder_that_is_not_there(capsys):
    assert main(["--config-dir", "nowhere", *QUICK]) == 2
    assert "--config-dir: got nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param([], id="basic"),
        pytest.param(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], id="joblib", marks=pytest.mark.slow),
    ],
)
def test_sweeps_over_a_sampler_of_ones_own(launcher):
    words = ["-m", *OWN, *QUICK, "name=s", "sampler=mine,unconditional", "seed=0,1", *launcher]
    done = subprocess.run([sys.executable, "-m", "safari_bench", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(Path("results/s").glob("photos/denoising/mine/*/rows.csv"))) == 2
    assert ("progress: 4 of 4 jobs ended" in done.stderr) == bool(launcher)
