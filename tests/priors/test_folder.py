"""Where diffusers checkpoints are looked for: both layouts, pickles refused, the Hub with and without an answer."""

import json
import re
import shutil
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from safari_bench.diffusion import Schedule
from safari_bench.priors import folder as module
from safari_bench.priors.unet import PriorError, load, save

WEIGHTS = "diffusion_pytorch_model.safetensors"
X = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)


def unet() -> UNet2DModel:
    torch.manual_seed(0)
    kinds = dict(down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",))
    return UNet2DModel(sample_size=16, block_out_channels=(8,), layers_per_block=1, norm_num_groups=4, **kinds).eval()


def predicted(folder) -> torch.Tensor:
    return load(str(folder), sanity_check=False).predict(X, 300).x0_hat


@pytest.fixture
def pipeline(tmp_path) -> Path:
    """As DDPMPipeline.save_pretrained writes it: model_index.json, unet/, scheduler/."""
    DDPMPipeline(unet(), DDPMScheduler(beta_schedule="linear")).save_pretrained(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def test_both_layouts_are_one_prior(pipeline, tmp_path):
    expected = predicted(pipeline)
    assert torch.equal(predicted(pipeline / "unet"), expected)  # the scheduler lies beside this folder
    flat = tmp_path / "flat"
    shutil.copytree(pipeline / "unet", flat)
    shutil.copy(pipeline / "scheduler" / "scheduler_config.json", flat)
    assert torch.equal(predicted(flat), expected)


@pytest.mark.parametrize("gone", ["unet/config.json", "scheduler/scheduler_config.json", f"unet/{WEIGHTS}"])
def test_what_a_pipeline_lacks_is_named(pipeline, gone):
    (pipeline / gone).unlink()
    with pytest.raises(PriorError, match=f"no file .*{re.escape(gone)}"):
        predicted(pipeline)


def test_pickled_weights_are_refused_and_the_remedy_works(pipeline):
    expected = predicted(pipeline)
    unet().save_pretrained(pipeline / "unet", safe_serialization=False)
    (pipeline / "unet" / WEIGHTS).unlink()
    with pytest.raises(PriorError, match=r"diffusion_pytorch_model.bin: weights as a pickle.*Convert it") as refused:
        predicted(pipeline)
    command = re.search(r"diffusers\.(UNet2DModel\..*)", str(refused.value)).group(1)
    eval(command, {"UNet2DModel": UNet2DModel})
    assert torch.equal(predicted(pipeline), expected)


def test_half_precision_is_taken_where_there_is_nothing_else(pipeline):
    expected = predicted(pipeline)
    unet().half().save_pretrained(pipeline / "unet", variant="fp16")
    assert torch.equal(predicted(pipeline), expected)
    (pipeline / "unet" / WEIGHTS).unlink()
    torch.testing.assert_close(predicted(pipeline), expected, rtol=1e-2, atol=1e-2)
    assert not torch.equal(predicted(pipeline), expected)


def test_a_pipeline_of_latents_is_refused(pipeline):
    """LDM networks for 3-channel latents would otherwise pass for networks for pictures."""
    index = pipeline / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "vqvae": ["diffusers", "VQModel"]}))
    with pytest.raises(PriorError, match="latents of a vqvae"):
        predicted(pipeline)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache, and an address of the Hub where nobody answers at once."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "cache"


def test_without_network_a_repository_is_refused_at_once(hub):
    started = time.monotonic()
    with pytest.raises(
        PriorError, match=r"no folder owner/name here, .* the Hub gave no answer .*hf download owner/nam"
    ):
        predicted("owner/name")
    assert time.monotonic() - started < 5


def test_a_hub_that_never_answers_is_given_up(hub, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(module, "_WAIT", 0.5)
        hangs_up = threading.Timer(8, silent.close)  # so that waiting for ever fails this test instead of hanging it
        hangs_up.start()
        started = time.monotonic()
        with pytest.raises(PriorError, match=r"no answer within 0.5 s"):
            predicted("owner/name")
        waited = time.monotonic() - started
        hangs_up.cancel()
        assert waited < 6


def test_a_cached_repository_needs_no_network(hub, pipeline):
    expected = predicted(pipeline)
    cached = hub / "models--owner--name"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    shutil.copytree(pipeline, cached / "snapshots" / ("0" * 40))
    assert torch.equal(predicted("owner/name"), expected)


def test_a_repository_is_fetched_at_the_revision_the_hub_named(hub, pipeline, monkeypatch):
    asked = []

    def snapshot(repository, *, allow_patterns, local_files_only=False, revision=None, etag_timeout=None):
        asked.append((repository, local_files_only, revision))
        if local_files_only:
            raise FileNotFoundError
        assert f"unet/{WEIGHTS}" in allow_patterns and not any("bin" in pattern for pattern in allow_patterns)
        return str(pipeline)

    siblings = [SimpleNamespace(rfilename=f"unet/{WEIGHTS}")]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(
        huggingface_hub.HfApi, "model_info", lambda *_, timeout: SimpleNamespace(sha="abc", siblings=siblings)
    )
    assert torch.equal(predicted("owner/name"), predicted(pipeline))
    assert asked == [("owner/name", True, None), ("owner/name", False, "abc")]
    siblings[0].rfilename = "unet/diffusion_pytorch_model.bin"
    with pytest.raises(PriorError, match=r"owner/name on the Hugging Face Hub has no diffusion_pytorch_model.safe"):
        predicted("owner/name")


@pytest.mark.parametrize("name", ["./owner/name", "/owner/name", "a/b/c", "nowhere", "../name"])
def test_what_is_no_repository_is_a_path(hub, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PriorError, match=f"no file .*{re.escape(name.removeprefix('./'))}/config.json"):
        predicted(name)


def test_a_folder_goes_before_a_repository_of_its_name(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(unet(), Schedule(), "epsilon", Path("owner/name"))
    assert predicted("owner/name").shape == X.shape
