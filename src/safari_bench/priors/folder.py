"""Where the files of a diffusers checkpoint lie: in a folder here, in one that ships, or on the Hugging Face Hub.

Two layouts are in use: all files side by side, and that of a pipeline with `unet/` and `scheduler/`.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safari_bench.priors.files import PriorError

__all__ = ["CONFIG", "SCHEDULER", "WEIGHTS", "Folder", "locate", "read_json"]

CONFIG, SCHEDULER, WEIGHTS = "config.json", "scheduler_config.json", "diffusion_pytorch_model.safetensors"
_HALF = "diffusion_pytorch_model.fp16.safetensors"
_FILES = ["model_index.json", CONFIG, SCHEDULER, WEIGHTS, f"unet/{CONFIG}", f"unet/{WEIGHTS}", f"scheduler/{SCHEDULER}"]
#: seconds that the Hub has for an answer; the download that follows may take longer
_WAIT = 10.0


@dataclass(frozen=True)
class Folder:
    """The three files of a checkpoint; whether they exist is for the reader to find out."""

    config: Path
    scheduler: Path
    weights: Path


def locate(checkpoint: str) -> Folder:
    """Find the files of a checkpoint.

    Args:
        checkpoint: a folder in either layout, or the `unet` folder of a pipeline; a name without a slash that does not
            exist here is looked for among the priors that ship; `owner/name` that does not exist here is looked for in
            the Hub's cache and then on the Hub, where the first answer may take ten seconds.
    Raises:
        PriorError: nothing there, no safetensors, a pipeline that works on latents, or the Hub does not answer.
    """
    root, shipped = Path(checkpoint), Path(__file__).parent / checkpoint
    if not root.is_dir() and "/" not in checkpoint and shipped.is_dir():
        root = shipped
    elif not root.is_dir() and re.fullmatch(r"\w[\w.-]*/[\w.-]+", checkpoint):
        root = _from_hub(checkpoint)
    _refuse_latents(root)
    unet = root / "unet" if (root / "unet").is_dir() else root
    scheduler = unet / SCHEDULER
    if unet.name == "unet" and not scheduler.is_file():
        scheduler = unet.parent / "scheduler" / SCHEDULER
    return Folder(unet / CONFIG, scheduler, _weights(unet))


def _weights(unet: Path) -> Path:
    """The safetensors file: full precision if there is a choice."""
    half = unet / _HALF
    if (unet / WEIGHTS).is_file() or not unet.is_dir():
        return unet / WEIGHTS
    if half.is_file():
        return half
    pickled = sorted(path.name for path in unet.glob("*.bin"))
    if pickled:
        raise PriorError(
            f"{unet / pickled[0]}: weights as a pickle, which can run code when it is opened; expected {WEIGHTS}. "
            "Convert it where you trust its source: diffusers.UNet2DModel.from_pretrained"
            f"({str(unet)!r}, use_safetensors=False).save_pretrained({str(unet)!r})"
        )
    return unet / WEIGHTS


def _refuse_latents(root: Path) -> None:
    index = root / "model_index.json"
    parts = {"vae", "vqvae"} & read_json(index).keys() if index.is_file() else set()
    if parts:
        raise PriorError(
            f"{index}: this pipeline diffuses the latents of a {parts.pop()}; the samplers need a network that "
            "diffuses pixels: choose another checkpoint"
        )


def _from_hub(repository: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:  # what is cached is taken first: the same weights tomorrow, and no network needed
        return Path(snapshot_download(repository, allow_patterns=_FILES, local_files_only=True))
    except Exception:  # not there, or not all of it; which of many errors that is depends on the version of the library
        pass
    try:
        info = HfApi().model_info(repository, timeout=_WAIT)
        names = {sibling.rfilename for sibling in info.siblings or []}
        if not names & {WEIGHTS, f"unet/{WEIGHTS}"}:
            raise PriorError(
                f"prior.checkpoint: {repository} on the Hugging Face Hub has no {WEIGHTS}; weights as .bin are pickles "
                "and are refused. Download it, convert it where you trust its source, and give the folder"
            )
        return Path(snapshot_download(repository, allow_patterns=_FILES, revision=info.sha, etag_timeout=_WAIT))
    except PriorError:
        raise
    except RepositoryNotFoundError as error:
        raise PriorError(
            f"prior.checkpoint: no folder {repository} here, and no repository of that name on the Hugging Face Hub "
            "that can be read without signing in; check the spelling"
        ) from error
    except Exception as error:  # the network's errors come from a library that differs between versions
        raise PriorError(
            f"prior.checkpoint: no folder {repository} here, not in the Hugging Face cache, and the Hub gave no answer "
            f"within {_WAIT:g} s ({type(error).__name__}: {error}); give the path of a local folder, or on a machine "
            f"with network: hf download {repository}, and copy its folder here"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        PriorError: no such file, or not a JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PriorError(
            f"prior.checkpoint: no file {path} ({error.strerror}); expected a diffusers folder with {CONFIG}, "
            f"{SCHEDULER} and {WEIGHTS}, or one with unet/ and scheduler/: give its path with prior.checkpoint=..."
        ) from error
    except ValueError as error:
        raise PriorError(f"{path}: not JSON ({error}); fetch the file again") from error
    if not isinstance(values, dict):
        raise PriorError(f"{path}: holds a {type(values).__name__}, expected a JSON object; fetch the file again")
    return values
