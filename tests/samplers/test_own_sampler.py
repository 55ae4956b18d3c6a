"""The files of docs/add-your-own.md, written to a folder and run: through Python, and by the commands of the page."""

import dataclasses
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from contract_checks import OPERATORS, PRIOR, check_contract
from hydra.utils import instantiate
from omegaconf import OmegaConf

from safari_bench import operators as ops
from safari_bench.data import Photos
from safari_bench.ledger import run_id
from safari_bench.metrics import Psnr, Suite
from safari_bench.rng import Streams
from safari_bench.runner import Job, Task, run_cell
from safari_bench.samplers import DPS, Degraded

PAGE = (Path(__file__).parents[2] / "docs" / "add-your-own.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```(?:python|yaml) title=\"(\S+)\"\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [
    line for block in re.findall(r"```bash title=\".*?\"\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]
#: the modules of the page's files may be named by a configuration where the command line has --allow
ALLOWS = importlib.util.find_spec("safari_bench.cli.allow") is not None
CHECKS = importlib.util.find_spec("safari_bench.cli.verbs.check") is not None if ALLOWS else False


@pytest.fixture
def own(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def node(own: Path, place: str) -> dict:
    return OmegaConf.to_container(OmegaConf.load(own / "my" / "conf" / place))


def built(own: Path, place: str, **options):
    values = node(own, place)
    values.pop("name", None)
    return instantiate(values, _convert_="all", **options)


def rows(folder: Path, **changes) -> pd.DataFrame:
    noise = ops.Gaussian(0.05, "minus_one_one")
    operator = lambda shape, streams: ops.BicubicDownsample(shape, streams, factor=4)  # noqa: E731
    work = dict(
        dataset=Photos(n=2),
        task=Task(name="sr_x4", operator=operator, noise=noise, sigma=0.05, sigma_range="minus_one_one"),
        sampler_name="degraded",
        sampler=Degraded(),
        prior_name="gaussian",
        denoiser=PRIOR,
        metrics=Suite([Psnr()]),
        seed=0,
        device=torch.device("cpu"),
        dtype=torch.float32,
        batch_size=2,
        workers=0,
        folder=folder,
    )
    work |= changes
    spec = {group: {"name": work[f"{group}_name"]} for group in ("sampler", "prior")} | {
        "task": {"name": work["task"].name}
    }
    job = Job(**work, run={"spec": spec, "run_id": run_id(spec)})
    run_cell(job)
    table = pd.read_csv(job.cell_folder / "rows.csv", keep_default_na=False)
    assert list(table.status) == ["ok"] * len(table), list(table.reason)
    return table


def test_a_sampler_of_the_users_own(own):
    sampler = dataclasses.replace(built(own, "sampler/mine.yaml"), steps=40)
    table = rows(own, sampler_name="mine", sampler=sampler)
    assert (table.nfe == 40).all() and (table.n_backward == 40).all()
    assert (table.psnr > 15).all() and (table.data_consistency < 3).all()
    small = type(sampler)(steps=4)
    for operator in (ops.Denoising, ops.Colorization):
        assert check_contract(small, operator) == (4, 4)


def test_the_sampler_of_the_readme():
    """It is another one than the page's."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    found = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "(Sampler)" in code]
    if not found:
        pytest.skip("the README shows no sampler")
    scope: dict = {"__name__": "readme"}
    exec(found[0], scope)
    for operator in (OPERATORS["sr_x4"], OPERATORS["inpaint_box"]):
        assert check_contract(scope["Mine"](steps=4), operator) == (4, 0)


def test_a_task_of_the_users_own(own):
    values = node(own, "task/lost_rows.yaml")
    noise = ops.Gaussian(0.05, "minus_one_one")
    operator = instantiate(values["operator"], _partial_=True, _convert_="all")
    task = Task(name=values["name"], operator=operator, noise=noise, sigma=0.05, sigma_range="minus_one_one")
    degraded = rows(own, task=task)
    table = rows(own, task=task, sampler_name="dps", sampler=DPS(steps=20, zeta=10.0))
    assert set(table.task) == {"lost_rows"} and (table.psnr > degraded.psnr).all()
    assert (table.data_consistency < 3).all()


def test_a_dataset_of_the_users_own(own):
    table = rows(own, dataset=built(own, "dataset/waves.yaml"))
    assert list(table.image_id) == [f"wave{i}" for i in range(8)] and (table.psnr > 20).all()


def test_a_prior_of_the_users_own(own):
    prior = built(own, "prior/white.yaml")
    streams = Streams(0, "test", ["a"])
    x, eps = 0.1 + streams.normal("truth", (3, 64, 64)), streams.normal("x_T", (3, 64, 64))
    x0_hat = prior.predict(prior.schedule.add_noise(x, 500, eps), 500).x0_hat
    assert abs(float((x0_hat - x).mean())) < 0.05  # the posterior mean is unbiased
    table = rows(own, prior_name="white", denoiser=prior, sampler_name="dps", sampler=DPS(steps=10, zeta=5.0))
    assert (table.nfe == 10).all()


@pytest.mark.skipif(not ALLOWS, reason="the command line has no --allow yet")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page(own, command):
    if " check " in command and not CHECKS:
        pytest.skip("the command line has no check yet")
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "safari_bench"]
    short = ["dataset.n=1", "name=own"] if " check " not in command else []
    if " sampler=" not in command and short:
        short += ["sampler=unconditional", "sampler.steps=2"]
    if " prior=" not in command and short:
        short += ["prior=gaussian"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, *words[1:], *short], cwd=own, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if short:
        found = [pd.read_csv(path) for path in (own / "results" / "own").glob("*/*/*/*/rows.csv")]
        assert found and all((table.status == "ok").all() for table in found)
