"""What `safari-bench doctor` looks for; tests/cli/test_cli_paper.py reads its whole page."""

from pathlib import Path

from PIL import Image

from safari_bench.cli import doctor, main
from safari_bench.metrics.weights import BACKBONES


def test_the_doctor_looks_where_the_words_point(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    Path("data/imagenet").mkdir(parents=True)
    for number in range(1, 4):
        Image.new("RGB", (8, 8)).save(f"data/imagenet/ILSVRC2012_val_{number:08d}.JPEG")
    monkeypatch.setattr(doctor, "_options", lambda group: ["imagenet"] if group == "dataset" else [])
    (Path("own") / BACKBONES["alexnet"].file).parent.mkdir()
    (Path("own") / BACKBONES["alexnet"].file).write_bytes(b"half a download")
    words = ["doctor", "metrics.weights_dir=own", "dataset=imagenet", "dataset.n=3", "compute.device=cpu"]
    for more in ([], ["metrics=perceptual"]):
        assert main([*words, *more]) == 0
        said = capsys.readouterr().out
        assert "imagenet: found; 3 pictures, 256 x 256 px" in said
        assert f"lpips_alex: not usable: own/{BACKBONES['alexnet'].file}" in said and "lpips_vgg: absent" in said


def test_the_doctor_knows_what_an_overlay_takes(monkeypatch):
    asked = []

    def dataset(name, words, n=None):
        asked.append((name, n))
        return n == 100, ""  # a hundred pictures each

    monkeypatch.setattr(doctor, "_dataset", dataset)
    lines = dict(line.split(": ") for line in doctor._overlays({"ffhq256", "imagenet256"}, []))
    assert lines["table1"] == "lacks ffhq, imagenet" and lines["table1_diffpir"] == "can be run"
    assert lines["smoke"] == "lacks photos, photos64"  # what conf/config.yaml has where an overlay says nothing
    assert ("ffhq", None) in asked and ("ffhq", 100) in asked
    asked.clear()
    assert "lacks ffhq" in dict(line.split(": ") for line in doctor._overlays(set(), ["dataset.n=7"]))["table1_diffpir"]
    assert ("ffhq", 100) not in asked
