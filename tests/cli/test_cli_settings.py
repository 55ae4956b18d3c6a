"""Files of settings are data that a user's own come before; what is typed is told from what a file holds."""

import json
from pathlib import Path

import hydra
import pandas as pd
import pytest

from safari_bench.cli import main, settings
from safari_bench.cli.compose import jobs
from safari_bench.cli.schema import check, register, root
from safari_bench.ledger import run_id


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("SAFARI_BENCH_SWEEP", raising=False)
    (tmp_path / "conf" / "tuned").mkdir(parents=True)


def composed(*words: str):
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
        return hydra.compose("config", overrides=list(words))


def own(text: str, name: str = "mine") -> None:
    Path(f"conf/tuned/{name}.yaml").write_text(text)


def test_files_beside_the_user_come_before_those_that_ship():
    own("sr_x4: {dps: {values: {zeta: 7, steps: 9}}}")
    assert composed("settings=mine", "sampler=dps").sampler.steps == 9
    own("sr_x4: {dps: {values: {zeta: 7, steps: 8}}}", "photos64")
    assert composed("sampler=dps").sampler.steps == 8


@pytest.mark.parametrize(
    "values",
    [
        "{_target_: os.getcwd}",
        "{zeta: '${oc.env:HOME}'}",
        "{zeta: [1, 2]}",
        "{zeta: {_target_: os.getcwd}}",
    ],
)
def test_a_file_that_holds_more_than_numbers_and_words_is_refused(values, capsys):
    own(f"sr_x4: {{dps: {{values: {values}}}}}")
    assert main(["settings=mine", "sampler=dps", "--cfg", "job"]) == 2
    assert "mine.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "meant"), [("photos46", "photos64"), ("papr", "paper"), ("tuned,tunde", "tuned")])
def test_a_name_that_is_not_there_is_refused_with_what_was_meant(name, meant, capsys):
    assert main([*(["-m"] if "," in name else []), f"settings={name}", "sampler=dps"]) == 2
    assert f"did you mean settings={meant}?" in capsys.readouterr().err


def test_the_line_tells_what_was_replaced():
    def said(*words: str) -> str:
        return settings.said(check(composed("sampler=dps", *words)))

    assert "replaced" not in said()
    kept, _, replaced = said("sampler.zeta=3").partition("; replaced: ")
    assert "steps=50" in kept and "zeta" not in kept and replaced == "zeta=3.0"
    preset = settings.said(check(composed("settings=photos64_optuna", "guidance=pixel")))
    assert "guidance.spatial=0.0" in preset.partition("; replaced: ")[2]


def test_the_last_release_s_way_to_say_paper_still_works(capsys):
    assert main(["~tuned", "sampler=dps", "--cfg", "job", "--package", "sampler.steps"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == "1000" and "settings=paper" in told.err


def test_settings_are_no_part_of_a_run_id():
    """One cell whether its values come from a file or are typed."""
    tuned = jobs(composed("sampler=dps", "dataset.n=1"), lambda: False)[-1].run
    words = ["sampler=dps", "dataset.n=1", "settings=paper", "sampler.zeta=12", "sampler.steps=50"]
    typed = jobs(composed(*words), lambda: False)[-1].run
    assert tuned["run_id"] == typed["run_id"] == run_id(tuned["spec"])
    assert (tuned["settings"]["name"], typed["settings"]["name"]) == ("tuned", "paper")


def test_each_job_of_a_sweep_in_a_launcher_s_processes_has_its_own_settings():
    words = ["-m", "prior=gaussian", "dataset.n=1", "sampler.steps=2", "compute.device=cpu", "name=s", "sampler=dps"]
    words += ["task=sr_x4,colorization", "settings=tuned,paper"]
    assert main([*words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]) == 0
    runs = [json.loads(path.read_text()) for path in Path("results/s").glob("photos/*/dps/*/run.json")]
    found = sorted(
        (run["spec"]["task"]["name"], run["settings"]["name"], run["spec"]["sampler"]["zeta"]) for run in runs
    )
    assert found == [("colorization", "paper", 1.0), ("sr_x4", "paper", 1.0), ("sr_x4", "tuned", 0.8)]


@pytest.mark.parametrize("name", ["photos64", "gaussian"])
def test_the_candidates_that_ship_hold_the_score_of_every_choice(name):
    rows = pd.read_csv(root() / "results" / "tuning" / f"{name}.csv.gz", keep_default_na=False)
    rows["score"] = pd.to_numeric(rows.score, errors="coerce")
    means = rows.groupby(["metric", "task", "sampler", "run", "settings"]).score.mean()
    for task, samplers in settings._read(root() / "conf" / "tuned" / f"{name}.yaml", 0).items():
        for sampler, entry in samplers.items():
            if score := entry.get("chosen", {}).get("score"):
                found = means[entry["chosen"]["metric"], task, sampler]
                assert (found - score).abs().min() < 6e-5, (task, sampler)
