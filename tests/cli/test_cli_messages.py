"""Every mistake a person can make on the command line: a message that says what, got, expected and remedy, an exit code
that is not 0, and nothing lost."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safari_bench.cli import main
from safari_bench.cli.verbs import VERBS

QUICK = ["dataset.n=1", "sampler.steps=2", "compute.device=cpu"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(capsys, *words: str, code: int = 2) -> str:
    assert main([*QUICK, *words]) == code
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task=sr_x5"], ["sr_x5", "sr_x4", "deblur_motion"]),
        (["sampler=safary"], ["safary", "safari", "dps"]),
        (["dataset=photo"], ["photos", "folder"]),
        (["sampler.stepz=3"], ["no such key: sampler.stepz", "did you mean sampler.steps?", "zeta"]),
        (["guidance.spacial=1"], ["no such key: guidance.spacial", "did you mean guidance.spatial?", "cutoff"]),
        (["sead=1"], ["no such key: sead", "did you mean seed?"]),
        (["task.operator.factr=2"], ["no such key: task.operator.factr", "factor"]),
        (["+sampler.stepz=3"], ["no such key: sampler.stepz", "did you mean sampler.steps?"]),
        (["+nonsense=1"], ["no such key: nonsense", "dataset, guidance"]),
        (["sampler.zeta=big"], ["sampler.zeta: got 'big' (str), expected float"]),
        (["sampler.steps=2.5"], ["sampler.steps: got 2.5 (float), expected int"]),
        (["sampler.spacing=cubic"], ["sampler.spacing: got 'cubic'", "quadratic"]),
        (["seed=one"], ["seed", "one"]),
        (["precision=fp8"], ["precision", "fp8", "fp64"]),
        (["task.noise=gausian"], ["gausian", "gaussian", "speckle"]),
        (["task.sigma_range=percent"], ["percent", "minus_one_one", "zero_one"]),
        (["task.sigma=-0.1"], ["sigma", "-0.1"]),
        (["guidance.low=-1"], ["guidance.low: got -1"]),
        (["compute.batch_size=-1"], ["compute.batch_size: got -1, expected a whole number from 0"]),
        (["compute.device=cudda"], ["compute.device: got cudda"]),
        (["dataset=folder"], ["dataset.root has no value"]),
        (["dataset=folder", "dataset.root=nowhere"], ["nowhere"]),
        (["dataset.split=validation"], ["validation", "tuning"]),
        (["dataset.n=1000"], ["1000", "24"]),
        (["prior=gaussian", "prior.checkpoint=missing.json"], ["missing.json", "recipes.fit gaussian"]),
        (["sampler.steps"], ["sampler.steps"]),
        (["name=../x"], ["name: got '../x'", "name of a folder"]),
        (["name=a/b"], ["name: got 'a/b'"]),
        (["sampler.name=../../../x"], ["sampler.name: got"]),
        (["task.name=x/y"], ["task.name: got 'x/y'"]),
        (["prior.name=.."], ["prior.name: got '..'"]),
        (["+dataset.name=.hidden"], ["dataset.name: got '.hidden'"]),
        (["-m", "name=../x", "seed=0,1"], ["name: got '../x'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_run_is_explained(capsys, words, said):
    message = refused(capsys, *words)
    for word in said:
        assert word in message


def picture(path, size=(80, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
    return path


def test_an_empty_folder_is_named(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    message = refused(capsys, "dataset=folder", "dataset.root=empty", "dataset.size=64")
    assert "empty" in message
    assert ".png" in message


def test_a_truncated_image_is_named(capsys, tmp_path):
    whole = picture(tmp_path / "pictures" / "a.png").read_bytes()
    (tmp_path / "pictures" / "b.png").write_bytes(whole[: len(whole) // 2])
    message = refused(capsys, "dataset=folder", "dataset.root=pictures", "dataset.size=64", "dataset.n=2")
    assert "b.png" in message
    assert "truncated" in message


def test_an_image_smaller_than_the_crop_is_named(capsys, tmp_path):
    picture(tmp_path / "pictures" / "tiny.png", (40, 90))
    message = refused(capsys, "dataset=folder", "dataset.root=pictures", "dataset.size=64", "dataset.recipe=crop")
    assert "tiny.png" in message
    assert "40" in message
    assert "64" in message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task=inpaint_random", "task.operator.fraction=1.0"], "fraction"),
        (["task=inpaint_box", "task.operator.hole=64"], "hole"),
        (["task=sr_x4", "task.operator.factor=5"], "factor"),
        (["task=deblur_motion", "task.operator.taps=99"], "taps"),
    ],
    ids=["fraction", "hole", "factor", "taps"],
)
def test_geometry_that_cannot_be_is_refused_before_anything_is_computed(capsys, words, said):
    assert said in refused(capsys, *words)
    assert not Path("results").exists()


def test_a_diverging_sampler_is_named_with_image_and_step(capsys):
    message = refused(capsys, "sampler=dps", "sampler.steps=6", "sampler.zeta=1e38", "sampler.clip=false", code=1)
    assert "image astronaut-64" in message
    assert "step" in message
    assert "sampler.zeta" in message


@pytest.mark.parametrize("typed, meant", [("tabel", "table"), ("doktor", "doctor"), ("studdy", "study")])
def test_unknown_verbs_are_listed(capsys, typed, meant):
    assert main([typed, "results/x"]) == 2
    said = capsys.readouterr().err
    assert f"did you mean {meant}?" in said and all(verb in said for verb in VERBS)


@pytest.mark.parametrize("verb", ["train", "fit", "card"])
def test_verbs_that_left_say_where_they_went(capsys, verb):
    assert main([verb, "--help"]) == main([verb]) == 2
    assert "python -m recipes." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sampler=reddif", "sampler=reddiff"),
        ("prior=ffhq", "prior=ffhq256"),
        ("task=sr4", "task=sr_x4"),
        ("experiments=tabel1", "experiments=table1"),
        ("dataset=photo", "dataset=photos"),
        ("guidance=ful", "guidance=full"),
    ],
)
def test_misspelt_options_are_met_with_what_was_meant(capsys, typed, meant):
    assert f"did you mean {meant}?" in refused(capsys, typed)
    assert main(["-m", *QUICK, typed, "seed=0,1"]) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_a_table_of_nothing_is_refused(capsys):
    assert main(["table", "results/none"]) == 2
    assert "none" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [*VERBS, "study"])
def test_every_verb_has_a_page_that_does_nothing_else(capsys, tmp_path, verb):
    assert main([verb, "--help"]) == main([verb, "results", "-h"]) == 0
    said = capsys.readouterr()
    assert "usage: safari-bench" in said.out and "Example: safari-bench " in said.out and not said.err
    assert not list(tmp_path.iterdir())


def test_a_verb_takes_no_unknown_option_for_a_file(capsys, tmp_path):
    """`manifest --quiet` would write a file of that name."""
    for words in (["manifest", "--quiet"], ["table", "table1", "--all"], ["--experimental-rerun=x.pickle"], ["-x"]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert "--help" in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_word_that_is_no_key_is_named(capsys):
    assert main(["name=a", "sampler"]) == 2
    assert "got sampler, expected key=value" in capsys.readouterr().err
