"""`safari-bench manifest`: which images a dataset is made of, written down or compared with what was."""

from pathlib import Path

from omegaconf import DictConfig

from safari_bench.cli.compose import dataset_of
from safari_bench.cli.schema import ConfigError, check
from safari_bench.data import Dataset, Manifest, Pictures, manifest_csv
from safari_bench.ledger import make_folder, write_atomic

__all__ = ["check_manifest", "make_manifest"]


def make_manifest(cfg: DictConfig, path: Path) -> None:
    """Write ids, pixel hashes and recipe of dataset=... to a CSV file.

    Raises:
        ConfigError: the file exists; see also `schema.check`.
        DataError: an image cannot be read.
    """
    _refuse_old(path)
    dataset = _dataset(cfg)
    text = manifest_csv(dataset)
    make_folder(path.parent)
    _refuse_old(path)  # hashing takes a while, and another process may have written it
    write_atomic(path, text.encode())
    print(f"{path}: {len(dataset.records())} images of {dataset.name}; use it with dataset.manifest={path}")


def _refuse_old(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} is there already; name another file, or say safari-bench manifest --check {path}")


def check_manifest(cfg: DictConfig, path: Path) -> bool:
    """Compare dataset=... with a manifest, naming every difference. Returns whether there is none.

    Raises:
        ConfigError: see `schema.check`.
        DataError: the manifest itself, or the dataset's folder, cannot be read.
    """
    dataset, manifest = _dataset(cfg), Manifest(path)
    if isinstance(dataset, Pictures):
        digests, present = dataset.digests(), dataset.present
    else:
        digests = {record.id: record.sha256 for record in dataset.records()}
        present = list(digests)
    found = manifest.differences(digests, present, _recipe(dataset))
    unused = len(manifest.sha256.keys() - digests.keys())
    beyond = f" ({unused} more are listed than dataset.n takes)" if unused and not found else ""
    print(f"{path}: {len(digests)} images of {dataset.name} compared, {len(found)} differences{beyond}")
    for line in found:
        print(f"  {line}")
    return not found


def _recipe(dataset: Dataset) -> str:
    return str(dataset.recipe) if isinstance(dataset, Pictures) else str(dataset.describe()["recipe"])


def _dataset(cfg: DictConfig) -> Dataset:
    values = check(cfg)
    return dataset_of({**values["dataset"], **({"manifest": None} if "manifest" in values["dataset"] else {})})
