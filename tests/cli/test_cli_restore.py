"""safari-bench restore and its Python face: a user's own picture, of any size."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import safari_bench as sb
from safari_bench.cli import main
from safari_bench.cli.measured import SIGMA_8_BITS, estimate_sigma
from safari_bench.data import leaf_generator, leaf_picture
from safari_bench.errors import ConfigError, Unsupported
from safari_bench.rng import Streams

FAST = ["prior=gaussian", "sampler.steps=3", "compute.device=cpu"]


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    """A clean picture of 37 x 30 px, a mask, and the picture with the mask's pixels white."""
    monkeypatch.chdir(tmp_path)
    pixels = leaf_picture(leaf_generator("test", 0), 64, 64)[:30, :37]
    mask = np.zeros((30, 37), np.uint8)
    mask[5:25, 10:13] = 255
    Image.fromarray(pixels).save("clean.png")
    Image.fromarray(mask).save("mask.png")
    damaged = np.where(mask[..., None] > 0, 255, pixels).astype(np.uint8)
    Image.fromarray(damaged).save("photo.png")
    return pixels


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_scratches_are_filled_in_the_pictures_own_size(clean, capsys):
    assert main(["restore", "photo.png", "task=inpaint", "mask=mask.png", "reference=clean.png", *FAST]) == 0
    out, err = capsys.readouterr()
    assert "psnr" in out
    assert "sigma=" in err
    assert size("photo.restored.png") == (37, 30)
    restored, before = (np.array(Image.open(f).convert("RGB"), float) for f in ("photo.restored.png", "photo.png"))
    assert np.abs(restored - clean).mean() < 0.5 * np.abs(before - clean).mean()
    page = Path("photo.restored.html").read_text()
    assert "http" not in page
    assert "safari-bench restore photo.png task=inpaint" in page
    assert page.count("data:image/png;base64,") == 2
    assert 'type="range"' in page


def test_what_is_there_is_kept_unless_told_otherwise(capsys):
    words = ["restore", "photo.png", "task=denoising", *FAST]
    Path("photo.restored.png").write_bytes(b"mine")
    assert main(words) == 0
    assert "overwrite=true" in capsys.readouterr().err
    assert Path("photo.restored.png").read_bytes() == b"mine"
    assert main([*words, "overwrite=true", "page=false"]) == 0
    assert size("photo.restored.png") == (37, 30)
    assert not os.path.exists("photo.restored.html")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["task=sr_x4"], (148, 120)),
        (["task=deblur", "kernel=k.png"], (37, 30)),
        (["task=deblur_gaussian", "task.operator.std=1"], (37, 30)),
        (["task=colorization"], (37, 30)),
        (["task=jpeg", "task.quality=20"], (37, 30)),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_other_damage(words, expected):
    Image.fromarray((np.eye(5) * 255).astype(np.uint8)).save("k.png")
    assert main(["restore", "photo.png", *words, "page=false", *FAST]) == 0
    assert size("photo.restored.png") == expected


def test_a_blur_that_is_known_is_undone(clean):
    """The blurred picture ends at its border: no ringing from the other side."""
    wide = leaf_picture(leaf_generator("test", 1), 96, 96)
    x = torch.from_numpy(wide).permute(2, 0, 1)[None].double() / 127.5 - 1
    kernel = np.ones((5, 5))
    y = sb.operators.Blur(kernel)((3, 96, 96), Streams(0, "d", ["a"], dtype=torch.float64)).A(x)[..., 10:-10, 10:-10]
    result = sb.restore(y[0].float(), sb.operators.Blur(kernel), "wiener", sigma=0.005)
    truth = x[0, :, 10:-10, 10:-10]
    assert (result.image - truth).square().mean() < 0.5 * (y[0] - truth).square().mean()


def test_a_folder_with_two_methods_and_draws_goes_on_where_it_stopped(capsys):
    os.makedirs("in/deep")
    for name in ("in/a.png", "in/deep/b.jpg"):
        Image.open("photo.png").save(name)
    words = ["restore", "in", "task=denoising", "sampler=ddnm,wiener", "draws=2", "out=out", "prior=gaussian"]
    words += ["page=false", "sigma=0.1"]
    assert main(words) == 0
    restored = {"a.restored.ddnm", "a.restored.wiener", "deep/b.restored.ddnm", "deep/b.restored.wiener"}
    every = {f"{name}{end}.png" for name in restored for end in ("", ".mean", ".spread")}
    found = {os.path.relpath(os.path.join(d, f), "out") for d, _, files in os.walk("out") for f in files}
    assert found == every
    assert "draws nothing at random" in capsys.readouterr().err
    os.unlink("out/deep/b.restored.ddnm.png")
    assert main(words) == 0
    assert capsys.readouterr().out.count("calls of the prior") == 1
    assert main(["restore", "in/*.png", "task=denoising", "out=other", *FAST]) == 0
    assert sorted(os.listdir("other")) == ["a.restored.html", "a.restored.png"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["photo.png"], 2, "no task"),
        (["photo.png", "task=inpaint"], 2, "needs mask=FILE"),
        (["photo.png", "task=inpaint", "mask=none.png"], 2, "none.png: cannot be read"),
        (["photo.png", "task=inpaint", "mask=small.png"], 2, "expected 37 x 30"),
        (["photo.png", "task=inpaint", "mask=empty.png"], 2, "no pixel is missing"),
        (["photo.png", "task=inpaint", "mask=full.png"], 2, "every pixel is missing"),
        (["photo.png", "task=denoising", "mask=mask.png"], 2, "is for task=inpaint"),
        (["photo.png", "task=denoisng"], 2, "did you mean task=denoising"),
        (["photo.png", "task=denoising", "sampler=dsp"], 2, "did you mean sampler=dps"),
        (["photo.png", "task=denoising", "sampler.stps=3"], 2, "did you mean sampler.steps"),
        (["photo.png", "task=denoising", "draws=0"], 2, "draws"),
        (["photo.png", "task=denoising", "sigma=much"], 2, "sigma"),
        (["photo.png", "task=denoising", "reference=none.png"], 2, "no such file"),
        (["photo.png", "task=inpaint_random"], 2, "task=inpaint mask=FILE"),
        (["photo.png", "task=phase_retrieval"], 2, ""),
        (["none.png", "task=denoising"], 2, "no such file"),
        (["text.png", "task=denoising"], 2, "cannot be decoded"),
        (["cut.png", "task=denoising"], 2, "cannot be decoded"),
        (["moving.gif", "task=denoising"], 2, "animated"),
        (["*.tif", "task=denoising"], 2, "no picture matches"),
        (["photo.png", "task=denoising", "out=photo.png/there"], 1, "cannot write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_ends_with_a_message_and_writes_no_picture(words, code, said, capsys):
    Image.new("L", (5, 5)).save("small.png")
    Image.new("L", (37, 30)).save("empty.png")
    Image.new("L", (37, 30), 255).save("full.png")
    Path("text.png").write_text("no picture")
    Path("cut.png").write_bytes(Path("photo.png").read_bytes()[:500])
    Image.new("L", (8, 8)).save("moving.gif", save_all=True, append_images=[Image.new("L", (8, 8), 9)])
    assert main(["restore", *words, "prior=gaussian", "compute.device=cpu"]) == code
    assert said in capsys.readouterr().err
    assert not [name for name in os.listdir() if ".restored" in name]


def test_a_reference_of_another_size_loses_no_picture(capsys):
    Image.new("L", (5, 5)).save("small.png")
    assert main(["restore", "photo.png", "task=denoising", "reference=small.png", *FAST]) == 2
    assert "expected 37 x 30" in capsys.readouterr().err
    assert size("photo.restored.png") == (37, 30)


def test_one_bad_picture_stops_none_of_the_others(capsys):
    os.mkdir("in")
    Path("in/a.png").write_text("no picture")
    Image.open("photo.png").save("in/b.png")
    assert main(["restore", "in", "task=denoising", "page=false", *FAST]) == 1
    assert os.path.exists("in/b.restored.png")
    assert "in/a.png" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(capsys):
    os.mkdir("shut", 0o555)
    assert main(["restore", "photo.png", "task=denoising", "out=shut", *FAST]) == 1
    assert "make it writable" in capsys.readouterr().err


def test_files_as_cameras_and_scanners_write_them(capsys):
    x = Image.open("photo.png").convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    x.save("turned.jpg", exif=exif, quality=35)
    x.convert("CMYK").save("cmyk.jpg")
    x.putalpha(100)
    x.save("alpha.png")
    Image.fromarray(np.full((20, 24), 40000, np.uint16)).save("deep.png")
    files = ["turned.jpg", "cmyk.jpg", "alpha.png", "deep.png"]
    assert main(["restore", *files, "task=jpeg", "page=false", *FAST]) == 0
    err = capsys.readouterr().err
    for words in ("turned upright", "CMYK", "laid over white", "16-bit", "JPEG quality 35"):
        assert words in err
    assert size("turned.restored.png") == (30, 37)
    assert not Image.open("turned.restored.png").getexif()
    assert abs(int(np.array(Image.open("deep.restored.png")).mean()) - 40000 / 257) < 3


def test_the_library_and_the_command_say_the_same():
    assert main(["restore", "photo.png", "task=inpaint", "mask=mask.png", "sigma=0.05", *FAST]) == 0
    build = sb.operators.Inpainting("mask.png")
    result = sb.restore("photo.png", build, prior="gaussian", sigma=0.05, keys=FAST[1:], ids=["photo.png"], draws=3)
    written = torch.from_numpy(np.array(Image.open("photo.restored.png")))
    assert torch.equal(((result.image + 1) * 127.5).round().to(torch.uint8), written)
    assert result.image.shape == result.mean.shape == result.spread.shape == (30, 37, 3)
    assert result.draws.shape == (3, 30, 37, 3)
    hole = torch.from_numpy(np.array(Image.open("mask.png")) > 0)
    assert result.spread[hole].mean() > 3 * result.spread[~hole].mean()


def test_layouts_of_y():
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    go = partial(sb.restore, operator="denoising", prior="gaussian", keys=FAST[1:], sigma=0.1)
    batch = go(x).image
    assert batch.shape == (2, 3, 32, 32)
    assert go(x[0]).image.shape == (3, 32, 32)
    assert torch.allclose(go(x[0]).image, batch[0], atol=1e-4)  # an image alone, under its own name "0"
    array = ((x[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    assert go(array).image.shape == (32, 32, 3)
    with pytest.raises(ConfigError, match="expected a path"):
        go([1, 2])


def test_a_pair_of_functions_is_an_operator():
    x = torch.linspace(-1, 1, 16).repeat(1, 3, 16, 1)
    rows = sb.operators.Linear(
        lambda x: x[..., ::2, :].flatten(1),
        lambda y: torch.stack([y.reshape(-1, 3, 8, 16), torch.zeros(len(y), 3, 8, 16)], 3).flatten(2, 3),
    )
    y = x[..., ::2, :].flatten(1)
    result = sb.restore(y, rows, "diffpir", "gaussian", sigma=0.01, keys=["sampler.steps=5"])
    assert result.image.shape == (1, 3, 16, 16)
    assert (result.image[..., ::2, :] - x[..., ::2, :]).abs().max() < 0.1
    with pytest.raises(ConfigError, match="no picture"):
        sb.restore(y, rows, prior="gaussian")
    with pytest.raises(Unsupported):
        sb.restore(y, rows, "ddrm", "gaussian", sigma=0.01)


def test_noise_is_estimated():
    noise = Streams(0, "d", ["a"]).normal("n", (3, 200, 200))
    assert estimate_sigma(0.1 * noise) == pytest.approx(0.1, rel=0.03)
    assert estimate_sigma(torch.zeros(1, 3, 20, 20)) == SIGMA_8_BITS


def test_pictures_larger_than_the_priors_go_through_windows():
    """The network itself, two calls of it: 70 x 20 px are extended to 70 x 64 and seen in windows."""
    photo = Image.open("photo.png").resize((70, 20))
    result = sb.restore(photo, "denoising", "diffpir", sigma=0.1, keys=["sampler.steps=2", "compute.tile=1"])
    assert result.image.shape == (20, 70, 3)
    assert any("windows of 64 px" in line for line in result.said)
    whole = sb.restore(photo, "denoising", "dps", sigma=0.1, keys=["sampler.steps=1"], windows="off")
    assert whole.image.shape == (20, 70, 3)


def test_results_are_read_as_a_frame():
    assert main(["name=one", "dataset.n=1", "metrics=default", *FAST]) == 0
    rows = sb.read_results("results/one")
    assert isinstance(rows, pd.DataFrame)
    assert {"psnr", "sampler", "image_id"} <= set(rows)
    assert len(rows) == 2


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import safari_bench, sys; safari_bench.__version__; assert not {'torch', 'hydra', 'pandas'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(AttributeError):
        _ = sb.nothing
