"""LPIPS, FID and KID as a person meets them: in a run, in a run scored later, and without the weights."""

import json
import shutil
from pathlib import Path

import backbones
import pandas as pd
import pytest
import torch
import torch_fidelity
from PIL import Image

from safari_bench.cli import compose, main
from safari_bench.data import from_uint8, read_image
from safari_bench.metrics import Lpips
from safari_bench.metrics.weights import BACKBONES

LEARNED = ["lpips_vgg", "lpips_alex"]
OFFLINE = ["metrics=perceptual", "metrics.download_seconds=0"]
DEEP = ("deep_distance", "deep_frechet", "deep_kernel")
#: the first layer of Inception with features, which is cheap
SHALLOW = [*OFFLINE, "metrics.sets.fid_from=2", "+metrics.sets.layer='64'"]
RUN = ["prior=gaussian", "dataset.n=2", "sampler=dps", "sampler.steps=2", "compute.device=cpu", "name=r"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compose._say.cache_clear()


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """A TORCH_HOME without weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    return tmp_path / "empty" / "hub" / "checkpoints"


def cell(sampler: str = "dps", name: str = "r") -> Path:
    (path,) = Path("results", name).glob(f"photos/sr_x4/{sampler}/*/")
    return path


def rows(sampler: str = "dps", name: str = "r") -> pd.DataFrame:
    return pd.read_csv(cell(sampler, name) / "rows.csv", index_col="image_id")


def clean() -> Path:
    (folder,) = Path("results/r/photos/reference").iterdir()
    return folder


def sets(sampler: str = "dps") -> dict:
    return json.loads((cell(sampler) / "set_scores.json").read_text())


def test_a_run_has_the_scores_and_says_where_they_come_from(published, capsys):
    assert main([*RUN, *SHALLOW]) == 0
    said = capsys.readouterr()
    assert "2 pictures, fewer than 2048" in said.err
    backbone = json.loads((cell() / "run.json").read_text())["backbones"]
    assert set(backbone) == {*LEARNED, "fid_64", "kid_64", *DEEP}
    assert backbone["lpips_vgg"]["sha256"] == backbones.digest(published / BACKBONES["vgg16"].file)
    # the numbers are those of the files that were saved
    metric = Lpips("alex")
    for image, row in rows().iterrows():
        x_hat, x = (
            from_uint8(torch.tensor(read_image(folder / row.image_file))).permute(2, 0, 1)[None]
            for folder in (cell() / "images", clean())
        )
        assert float(metric(x_hat, x)) == row.lpips_alex, image
    theirs = torch_fidelity.calculate_metrics(
        input1=str(cell() / "images"),
        input2=str(clean()),
        feature_extractor_weights_path=str(published / BACKBONES["inception"].file),
        feature_extractor_internal_dtype="float64",
        **dict(feature_extractor="inception-v3-compat", feature_layer_fid="64", feature_layer_kid="64"),
        **dict(
            fid=True,
            kid=True,
            kid_subset_size=2,
            kid_subsets=1,
            cuda=False,
            cache=False,
            verbose=False,
            save_cpu_ram=True,
        ),
    )
    assert sets()["scores"] == {
        "fid_64": theirs["frechet_inception_distance"],
        "kid_64": theirs["kernel_inception_distance_mean"],
    }
    assert sets()["n"] == 2
    assert sets("degraded")["scores"] != sets()["scores"]
    numbers = pd.read_csv("results/r/table1.csv").set_index(["sampler", "metric"])
    assert numbers.loc[("dps", "fid_64"), "mean"] == sets()["scores"]["fid_64"]
    assert "LPIPS VGG" in said.out and "fid_64" in said.out

    # and a second time there is nothing to do
    before = {path: path.stat().st_mtime_ns for path in cell().rglob("*") if path.name != ".lock"}
    assert main([*RUN, *SHALLOW]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in cell().rglob("*") if path.name != ".lock"} == before


def test_a_run_scored_later_has_the_numbers_of_one_scored_at_once(published, capsys):
    assert main([*RUN, *SHALLOW]) == 0
    assert main([*RUN, "name=later", "metrics=default"]) == 0
    assert "lpips_vgg" not in rows(name="later")
    capsys.readouterr()
    assert main(["score", "later", "compute.device=cpu", *SHALLOW]) == 0
    said = capsys.readouterr().out
    assert "2 pictures; new: lpips_vgg, lpips_alex; as before: psnr, ssim, haarpsi, gmsd, saturated" in said
    assert "LPIPS VGG" in said
    cost = ["seconds", "peak_mem_mb"]
    pd.testing.assert_frame_equal(rows(name="later").drop(columns=cost), rows().drop(columns=cost), check_exact=True)
    scored = json.loads((cell(name="later") / "scored.json").read_text())
    assert scored["backbones"]["lpips_vgg"]["weights"] == BACKBONES["vgg16"].file
    assert scored["machine"]["device"] == "cpu"
    names = ("rows.csv", "set_scores.json")
    before = [(cell(name="later") / name).read_bytes() for name in names]
    assert before[1] == (cell() / "set_scores.json").read_bytes()
    assert main(["score", "results/later", "compute.device=cpu", *SHALLOW]) == 0
    assert [(cell(name="later") / name).read_bytes() for name in names] == before
    assert "changed" not in capsys.readouterr().out


def test_without_weights_a_run_goes_on_and_a_line_says_what_to_put_where(published, nothing, capsys):
    assert main([*RUN, *OFFLINE]) == 0
    said = capsys.readouterr()
    for column, name in (("lpips_vgg", "vgg16"), ("lpips_alex", "alexnet"), ("fid, kid", "inception")):
        (line,) = (line for line in said.err.splitlines() if line.startswith(f"{column} n/a: "))
        assert f"{BACKBONES[name].file} not found; put {BACKBONES[name].url} into {nothing}" in line
    assert rows()[LEARNED].isna().all(axis=None)
    assert rows().psnr.notna().all()
    assert {name: sets()["scores"][name] for name in ("fid", "kid")} == {"fid": None, "kid": None}
    assert said.out.split().count("n/a") == 4  # lpips_vgg, lpips_alex, fid, kid
    assert json.loads((cell() / "run.json").read_text())["backbones"]["lpips_vgg"]["weights"] is None

    # the files turn up: the same command has nothing to restore, `score` fills in the columns
    shutil.copytree(published, nothing)
    assert main(["score", "r", "compute.device=cpu", *OFFLINE]) == 0
    assert "new: lpips_vgg, lpips_alex" in capsys.readouterr().out
    assert rows()[LEARNED].notna().all(axis=None)
    assert set(sets()["scores"]) == {"kid"}  # 2 pictures, fewer than fid_from

    # and are lost again: what there is stays
    before = (cell() / "rows.csv").read_bytes(), sets()
    shutil.rmtree(nothing)
    assert main(["score", "r", "compute.device=cpu", *OFFLINE]) == 0
    assert ((cell() / "rows.csv").read_bytes(), sets()) == before


def test_a_wrong_file_stops_a_run_before_it_begins(published, nothing, capsys):
    nothing.mkdir(parents=True)
    (nothing / BACKBONES["vgg16"].file).write_bytes(b"half a download")
    assert main([*RUN, *OFFLINE]) == 2
    message = capsys.readouterr().err
    assert "error: metrics: " in message and "expected" in message and "delete it" in message
    assert not Path("results").exists()


def test_weights_dir_is_looked_into(published, nothing, capsys):
    assert (
        main([*RUN, *OFFLINE, f"metrics.weights_dir={published}", "metrics.sets=null", "metrics.deep_sets=null"]) == 0
    )
    assert "n/a" not in capsys.readouterr().err
    assert rows()[LEARNED].notna().all(axis=None)
    assert not (cell() / "set_scores.json").exists()


def test_a_picture_that_changed_is_noticed(capsys):
    assert main(RUN) == 0
    path = sorted((cell() / "images").iterdir())[0]
    Image.new("RGB", Image.open(path).size, "green").save(path)
    assert main(["score", "r", "compute.device=cpu"]) == 0
    said = capsys.readouterr()
    assert "changed: psnr" in said.out
    assert "psnr differs by up to" in said.err


def test_a_picture_that_is_gone_is_named(capsys):
    assert main(RUN) == 0
    path = sorted((cell() / "images").iterdir())[0]
    path.unlink()
    before = (cell() / "rows.csv").read_bytes()
    assert main(["score", "r", "compute.device=cpu"]) == 2
    assert str(path) in capsys.readouterr().err
    assert (cell() / "rows.csv").read_bytes() == before


def test_pictures_too_small_for_a_score_are_named(published, capsys):
    assert (
        main(["dataset=leaves", "dataset.size=20", "dataset.n=1", "prior=gaussian", "sampler=degraded", "name=r"]) == 0
    )
    assert main(["score", "r", "compute.device=cpu", *OFFLINE]) == 2
    message = capsys.readouterr().err
    assert "expected at least 31 x 31" in message and ".png" in message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["score"], "RUN"),
        (["score", "metrics=perceptual"], "takes a run folder"),
        (["score", "results/none"], "results/none holds no cells"),
        (["score", "results/none", "metrics=perceptuel"], "perceptual"),
        (["weights", "lits"], "takes list, check, fetch"),
        (["weights", "list", "check"], "takes list, check, fetch"),
        ([*RUN, "metrics=perceptual", "metrics.sets.fid_form=3"], "fid_form"),
        ([*RUN, "metrics=perceptual", "metrics.sets.fid_from=1"], "fid_from: got 1, expected at least 2"),
        ([*RUN, "metrics=perceptual", "metrics.download_seconds=soon"], "metrics.download_seconds: got 'soon'"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else None,
)
def test_mistakes_are_explained(nothing, capsys, words, said):
    assert main(words) == 2
    message = capsys.readouterr().err
    assert said in message
    assert "Traceback" not in message
