"""The rooms and what each may import, read from the source."""

import ast
from pathlib import Path

import pytest

import safari_bench

PACKAGE = Path(safari_bench.__file__).parent
CONTRACT = "operators.contract"
#: room -> rooms it may import; anything else of the package is forbidden
ALLOWED = {
    "errors": set(),
    "shapes": set(),
    "rng": set(),
    "ranges": set(),
    "machine": set(),
    "ledger": set(),
    "diffusion": {"shapes"},
    "operators": {"shapes", "rng", "data"},
    "data": {"shapes"},
    "metrics": {"shapes", "ledger"},
    "priors": {"shapes", "diffusion", "rng"},
    "exact": {"shapes", "rng", "ledger", "diffusion", "operators", "priors", "fidelity", "samplers"},
    "fidelity": {"shapes", "ranges", "operators"},
    "samplers": {"shapes", "ranges", "diffusion", "operators", "fidelity", "rng"},
    "runner": {"shapes", "rng", "data", "metrics", "ledger", "machine", "diffusion", "operators", "samplers"},
    "loggers": {"ledger"},
    "reports": {"ledger"},
    "ablation": {"ledger", "reports"},
    "cli": {
        *[
            "shapes",
            "ranges",
            "rng",
            "machine",
            "ledger",
            "diffusion",
            "operators",
            "data",
            "metrics",
            "priors",
            "exact",
            "fidelity",
            "samplers",
            "runner",
            "loggers",
            "ablation",
            "reports",
        ]
    },
}
#: libraries that belong to some rooms only
ONLY = {"hydra": {"cli"}, "omegaconf": {"cli"}, "wandb": {"loggers"}, "tensorboard": {"loggers"}}
NEVER = {"reports": {"torch"}, "ledger": {"torch"}, "ablation": {"torch"}}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.append(node.module)
    return found


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if room(path) not in ("__init__", "__main__")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    here = room(path)
    for name in imports(path):
        if name.startswith("safari_bench."):
            there = name.split(".")[1]
            assert there in {here, "errors"} | ALLOWED[here], f"{here} imports {there}"
            if here == "runner" and there in ("operators", "samplers"):
                assert name.endswith(".contract"), f"the runner knows contracts only, not {name}"
        library = name.split(".")[0]
        assert here in ONLY.get(library, {here}), f"{here} imports {library}"
        assert library not in NEVER.get(here, set()), f"{here} imports {library}"


def test_every_room_is_listed():
    assert {room(path) for path in FILES} == set(ALLOWED)


def test_random_numbers_are_drawn_in_one_place():
    """torch.randn and its kin appear nowhere; numpy generators are made in rng (and bootstraps in tables).

    Data makes its own too: what a generated dataset shows is seeded by split and index, never by the run.
    """
    for path in FILES:
        names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        forbidden = {"randn", "rand", "randn_like", "rand_like", "randint", "randperm", "manual_seed"}
        assert room(path) == "rng" or not names & forbidden, path
        if room(path) not in ("rng", "reports", "operators", "data"):
            assert "Generator" not in names, path


def test_torch_weights_are_never_unpickled():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert said.get("weights_only") == "True", path
        assert "import pickle" not in path.read_text(), path
