"""`safari-bench train` and `card` as a person runs them."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from safari_bench.cli import main

DRY = [
    "training.network.block_out_channels=[8,16]",
    "training.network.norm_num_groups=4",
    "training.network.attention_head_dim=8",
    "training.network.down_block_types=[DownBlock2D,DownBlock2D]",
    "training.network.up_block_types=[UpBlock2D,UpBlock2D]",
    "training.data.batch_size=2",
    "training.data.size=16",
    "training.recipe.workers=0",
    "compute.device=cpu",
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_a_dry_run_gives_a_prior_that_restores(capfd):
    assert main(["train", *DRY, "training.data.steps=3"]) == 0
    said = capfd.readouterr().out
    (use,) = [line.removeprefix("use it with ").split() for line in said.splitlines() if line.startswith("use it")]
    assert "prior.checkpoint=results/train_prior/prior" in use
    checkpoint = next(word for word in use if word.startswith("prior.checkpoint="))
    untrained = ["prior=diffusers", checkpoint, "prior.sanity_check=false"]
    assert main([*untrained, "sampler=dps", "sampler.steps=2", "dataset.n=1", "name=used"]) == 0
    assert "prior: diffusers" in capfd.readouterr().out
    assert len((Path("results") / "train_prior" / "loss.csv").read_text().splitlines()) == 4


def test_ctrl_c_writes_a_checkpoint_and_the_same_command_goes_on():
    command = [sys.executable, "-m", "safari_bench", "train", *DRY, "training.data.steps=100000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = ""
    while " 3/" not in said:  # the bar: under way
        said += process.stderr.read(1)
        assert process.poll() is None, said
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert "Run the same command again" in error
    losses = Path("results/train_prior/loss.csv")
    done = len(losses.read_text().splitlines()) - 1
    assert done >= 3 and Path("results/train_prior/checkpoint.pt").is_file()
    before = losses.read_text()
    assert main(["train", *DRY, f"training.data.steps={done + 2}"]) == 0
    assert losses.read_text().startswith(before)
    assert len(losses.read_text().splitlines()) == done + 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["training.data.leaves=2.0"], "training.data.leaves: got 2.0, expected a fraction"),
        (["training.recipe.learning_rat=1"], "learning_rat"),
        (["training.network.norm_num_groups=7"], "training.network: .*divisible"),
        (["experiments=smoke"], "nothing to train"),
    ],
)
def test_what_cannot_be_trained_says_why(words, said, capfd):
    assert main(["train", *(DRY if "experiments=smoke" not in words else []), *words]) == 2
    assert re.search(said, capfd.readouterr().err)


def test_running_a_training_configuration_says_which_verb(capfd):
    assert main(["experiments=train_prior"]) == 2
    assert "safari-bench train" in capfd.readouterr().err


@pytest.mark.slow
def test_a_card_is_written_for_any_prior(capfd):
    assert main(["card", "prior=gaussian"]) == 0
    assert {path.name for path in Path("results/card_gaussian").iterdir()} >= {"numbers.md", "samples.png"}
    assert "One-step denoising, leaves, 24 images" in capfd.readouterr().out
