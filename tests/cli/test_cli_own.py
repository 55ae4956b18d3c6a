"""Classes of a user's own that are not as they should be: a message and exit code 2; an operator that is wrong: 1."""

import pytest

from safari_bench.cli import main

QUICK = ["prior=gaussian", "dataset.n=1", "compute.device=cpu"]
MODULE = """
from dataclasses import dataclass
from safari_bench.operators import LinearOperator
from safari_bench.samplers import Sampler

@dataclass(frozen=True, kw_only=True)
class Unfinished(Sampler):
    steps: int = 3

class Stranger:
    def restore(self, y, operator):
        return y

class NoMap(LinearOperator):
    pass

class Rows(LinearOperator):
    def A(self, x):
        return x[..., ::2, :]

class Wrong(Rows):
    def adjoint(self, y):
        return y.repeat_interleave(2, -2)

class Strict(Rows):
    def __init__(self, image_shape, streams, *, factor: int):
        super().__init__(image_shape, streams)
        raise ValueError(f"got factor {factor}, expected 2")
"""


@pytest.fixture
def own(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    name = f"module_{abs(hash(request.node.name))}"  # imported once per process
    (tmp_path / f"{name}.py").write_text(MODULE)
    for group in ("sampler", "task"):
        (tmp_path / "conf" / group).mkdir(parents=True)
    return name


def run(capsys, own: str, kind: str, *words: str, verb: tuple[str, ...] = (), more: str = "") -> tuple[int, str]:
    group = words[0].partition("=")[0]
    target = f"_target_: {own}.{kind}\n{more}"
    text = f"name: mine\n{target}" if group == "sampler" else f"name: mine\noperator:\n  {target}"
    with open(f"conf/{group}/mine.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    code = main([*verb, "--config-dir", "conf", "--allow", own, *QUICK, *words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out + said.err


@pytest.mark.parametrize(
    ("kind", "word", "said"),
    [
        ("Unfinished", "sampler=mine", ": restore;"),
        ("Stranger", "sampler=mine", "expected a Sampler"),
        ("NoMap", "task=mine", ": A;"),
        ("Strnger", "sampler=mine", "did you mean"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused(capsys, own, kind, word, said):
    code, text = run(capsys, own, kind, word)
    assert code == 2 and said in text


def test_check_judges_an_operator(capsys, own):
    code, text = run(capsys, own, "Rows", "task=mine", verb=("check",))
    assert code == 0 and "ok" in text and "adjoint" in text and "all hold" in text
    code, text = run(capsys, own, "Wrong", "task=mine", verb=("check",))
    assert code == 1 and "FAILED" in text and "1 failed: adjoint" in text
    code, text = run(capsys, own, "NoMap", "task=mine", verb=("check",))
    assert code == 2 and ": A;" in text
    code, text = run(capsys, own, "Strict", "task=mine", verb=("check",), more="  factor: 3\n")
    assert code == 2 and "got factor 3, expected 2" in text


def test_check_takes_tasks_that_ship(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["check", "task=sr_x4,deblur_motion", "dataset.n=1"]) == 0
    assert capsys.readouterr().out.count("all hold") == 2
