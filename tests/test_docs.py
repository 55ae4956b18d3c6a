"""README and docs: links lead somewhere, commands parse, the page of the command line is fresh."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch

from safari_bench.cli import verbs
from safari_bench.cli.grids import configurations
from safari_bench.cli.words import wide
from safari_bench.diffusion import EpsDenoiser, Schedule
from safari_bench.operators import BicubicDownsample
from safari_bench.rng import Streams
from safari_bench.samplers import Problem

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "results/README.md", *sorted(ROOT.glob("docs/**/*.md"))]
links = runpy.run_path(str(ROOT / "docs" / "site_hooks.py"))["links"]
write_cli = runpy.run_path(str(ROOT / "docs" / "write_cli.py"))


def commands(page: Path) -> list[list[str]]:
    """The words after safari-bench of every command line in a page's code."""
    code = re.findall(r"```[^\n]*\n(.*?)```|`(safari-bench [^`]+)`", page.read_text(), re.DOTALL)
    lines = [line for block in code for line in "".join(block).replace("\\\n", " ").splitlines()]
    found = [re.search(r"(?:safari-bench|python -m safari_bench) (.*)", line) for line in lines]
    return [shlex.split(match[1], comments=True) for match in found if match]


def parsed(words: list[str]):
    named = bool(words) and "=" not in words[0] and not words[0].startswith("-")
    return verbs.parser(words[0] if named else "run").parse_intermixed_args(words[named:])


def test_readme_has_at_most_100_lines_and_pictures_are_at_most_1_mb():
    assert len(README.splitlines()) <= 100
    pictures = [target for page in PAGES for target in links(page) if target.suffix in (".png", ".webp", ".svg")]
    assert pictures
    assert not [path for path in pictures if path.stat().st_size > 1_000_000]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(page):
    assert not [str(target) for target in links(page) if not target.exists()]


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "cli.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_command_lines_parse(page):
    for words in commands(page):
        if not {"-h", "--help"} & set(words) and words != ["VERB"]:
            parsed(words)


def test_make_targets_of_the_pages_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z0-9-]+)", page.read_text(), re.MULTILINE)}
    assert "reproduce-table1" in named
    assert named <= targets


def test_recipes_of_the_pages_exist():
    named = {name for page in PAGES for name in re.findall(r"python -m (recipes\.\w+)", page.read_text())}
    places = {name: ROOT / name.replace(".", "/") for name in named}
    found = {name for name, at in places.items() if at.with_suffix(".py").exists() or (at / "__main__.py").exists()}
    assert named == found


def own_sampler(folder: Path) -> type:
    """Write the README's sampler and its yaml where the README puts them; return the class."""
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    lines = re.search(r"mine.yaml` with the lines `([^`]+)`, `([^`]+)` and `([^`]+)`", README)
    assert code and lines
    (folder / "my_module.py").write_text(code[1])
    (folder / "my" / "conf" / "sampler").mkdir(parents=True)
    (folder / "my" / "conf" / "sampler" / "mine.yaml").write_text("\n".join(lines.groups()) + "\n")
    return runpy.run_path(str(folder / "my_module.py"))["Mine"]


def test_readme_commands_compose(tmp_path, monkeypatch):
    own_sampler(tmp_path)
    monkeypatch.chdir(tmp_path)
    composed = 0
    for words in commands(ROOT / "README.md"):
        if "--help" in words:
            continue
        args = parsed(words)
        if hasattr(args, "keys"):
            with wide(args) as keys:
                composed += bool(next(configurations(keys)))
    assert composed >= 6


def test_readme_sampler_restores(tmp_path):
    sampler = own_sampler(tmp_path)(steps=3)
    streams = Streams(0, "d", ["a", "b"])
    operator = BicubicDownsample((3, 16, 16), streams, factor=4)
    schedule = Schedule()
    white = EpsDenoiser(lambda x_t, t: (1 - schedule.abar(int(t[0]))) ** 0.5 * x_t, schedule)  # exact for N(0, I)
    sampler.admit(operator)
    y = operator.A(torch.zeros(2, 3, 16, 16))
    x = sampler.restore(Problem(y=y, operator=operator, sigma_y=0.05, streams=streams), white, iter)
    assert x.shape == (2, 3, 16, 16)
    assert torch.isfinite(x).all()


def test_page_of_the_command_line_is_fresh():
    assert write_cli["PAGE"].read_text() == write_cli["render"](), "docs/cli.md is stale: run make docs"
