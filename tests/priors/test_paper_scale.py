"""The checkpoints at paper scale from the command line: what is said without them, and files of the real format."""

import gc
import json
import resource
from pathlib import Path

import hydra
import pandas as pd
import pytest
import torch
from guided_reference import GuidedUNet, random_unet
from hydra.utils import instantiate
from omegaconf import OmegaConf

from safari_bench.cli import main
from safari_bench.cli.schema import check, register, root
from safari_bench.priors.unet import UNetPrior

SMALL = dict(image_size=64, num_channels=32, num_res_blocks=1, channel_mult=[1, 2], attention_resolutions=[32])


def flags(name: str) -> dict:
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
        cfg = hydra.compose("config", overrides=[f"prior={name}"])
    check(cfg)  # every flag is one that the loader takes, and of the right type
    return OmegaConf.to_container(cfg.prior)


@pytest.mark.parametrize(
    ("name", "place", "source"),
    [
        ("ffhq256", "checkpoints/ffhq_10m.pt", "github.com/DPS2022/diffusion-posterior-sampling"),
        ("imagenet256", "checkpoints/256x256_diffusion_uncond.pt", "openaipublic.blob.core.windows.net/diffusion"),
    ],
)
def test_without_the_file_the_command_says_where_to_get_it_and_where_to_put_it(
    tmp_path, monkeypatch, capsys, name, place, source
):
    monkeypatch.chdir(tmp_path)
    assert main([f"prior={name}", "dataset.n=1"]) == 2
    said = capsys.readouterr().err
    assert f"no file {place} (looked for at {tmp_path / place})" in said
    assert source in said and "put it there" in said and "prior.checkpoint=..." in said
    assert "Traceback" not in said


def test_a_checkpoint_restores_and_is_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(random_unet(num_head_channels=32, **SMALL).state_dict(), "small.pt")
    command = ["prior=guided_diffusion", "prior.checkpoint=small.pt", "prior.image_size=64", "sampler=dps"]
    command += ["sampler.steps=2", "dataset.n=1", "compute.device=cpu"]
    assert main(command) == 2
    assert "does not denoise" in capsys.readouterr().err
    command += ["prior.sanity_check=false"]
    assert main([*command, "prior.num_head_channels=32", "name=narrow"]) == 0
    said = capsys.readouterr().err
    assert main([*command, "prior.num_head_channels=64", "name=wide"]) == 0
    runs = [json.loads(path.read_text())["spec"]["prior"] for path in Path("results").rglob("run.json")]
    recorded = [prior for prior in runs if prior["name"] != "none"]
    assert sorted(prior["num_head_channels"] for prior in recorded) == [32, 64]  # two networks, two cells
    assert len({prior["sha256"] for prior in recorded}) == 1
    assert f"prior guided_diffusion: small.pt, sha256 {recorded[0]['sha256']}" in said


def full_size(name: str) -> dict:
    keys = {"name", "_target_", "checkpoint", "sha256", "source", "sanity_check"}
    return {key: value for key, value in flags(name).items() if key not in keys}


@pytest.mark.parametrize(("name", "millions"), [("ffhq256", 93.6), ("imagenet256", 552.8)])
def test_the_configurations_describe_networks_of_the_published_size(name, millions):
    with torch.device("meta"):
        unet = GuidedUNet(**full_size(name))
    assert sum(weight.numel() for weight in unet.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ffhq256", "imagenet256"])
@torch.no_grad()
def test_a_full_size_checkpoint_is_the_original_at_256_pixels(tmp_path, name):
    """Random weights in the real format, stored in half precision; the two networks are never in memory together."""
    path = tmp_path / "full.pt"
    write_random(full_size(name), path)
    node = {**flags(name), "checkpoint": str(path), "sha256": None, "sanity_check": False}
    x, t = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    prior: UNetPrior = instantiate({key: value for key, value in node.items() if key != "name"}, _convert_="all")
    output = prior.network(x, t)
    prediction = prior.predict(x, 500) if name == "ffhq256" else None
    del prior
    gc.collect()
    with torch.device("meta"):
        unet = GuidedUNet(**full_size(name)).eval()
    state = {key: value.float() for key, value in torch.load(path, weights_only=True).items()}
    unet.load_state_dict(state, assign=True)
    expected = unet(x, t)
    assert output.shape == (1, 6, 256, 256) and output.std() > 1e-3
    assert ((output - expected).norm() / expected.norm()).item() < 1e-5
    assert prediction is None or prediction.x0_hat.isfinite().all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 6e6  # KiB


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ffhq256", "imagenet256"])
def test_every_method_takes_three_steps_through_a_full_size_network(tmp_path, monkeypatch, name):
    """256 px on the CPU; the rows have what each step took."""
    monkeypatch.chdir(tmp_path)
    write_random(full_size(name), Path("full.pt"))
    words = ["-m", "name=full", "dataset=leaves", "dataset.size=256", "dataset.n=1", "task=sr_x4", f"prior={name}"]
    words += ["prior.checkpoint=full.pt", "prior.sha256=null", "prior.sanity_check=false", "compute.device=cpu"]
    methods = "unconditional,safari,dps,ilvr,mcg,ddrm,ddnm,pigdm,mmps,diffpir,pnp_admm,reddiff,daps"
    assert main([*words, f"sampler={methods}", "sampler.steps=3"]) == 0
    rows = pd.read_csv("results/full/per_image.csv", keep_default_na=False).set_index("sampler")
    assert set(rows.index) == {*methods.split(","), "degraded"} and set(rows.status) == {"ok"}
    calls = rows.nfe.drop("degraded").astype(float)
    assert set(calls.drop("daps")) == {3} and calls["daps"] == 15  # five calls per annealing level


def write_random(arguments: dict, path: Path) -> None:
    with torch.device("meta"):
        state = GuidedUNet(**arguments).state_dict()
    generator = torch.Generator().manual_seed(1)
    for key, shape in [(key, value.shape) for key, value in state.items()]:
        spread = 0.1 if len(shape) == 1 else shape[1:].numel() ** -0.5
        offset = 1.0 if len(shape) == 1 and key.endswith("weight") else 0.0
        state[key] = (offset + spread * torch.randn(shape, generator=generator)).half()
    torch.save(state, path)
