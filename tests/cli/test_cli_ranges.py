"""Settings that make no sense are refused before anything is computed; keys that nobody reads are named."""

import dataclasses
import math
from typing import get_args

import pytest

from safari_bench import samplers
from safari_bench.cli import main
from safari_bench.fidelity import Perceptual
from safari_bench.priors import gaussian
from safari_bench.ranges import Range, hints_of
from safari_bench.samplers import Sampler

QUICK = ["prior=gaussian", "dataset.n=1", "compute.device=cpu", "metrics=default"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.iterdir())


def numbers(kind: type) -> dict[str, tuple[type, Range | None]]:
    """The numeric settings of a class, their types and their ranges."""
    found = {}
    for name in {field.name for field in dataclasses.fields(kind)}:
        hint = hints_of(kind)[name]
        parts = (hint, *get_args(hint))
        kinds = [
            number for number in (int, float) if number in {*parts, *(a for part in parts for a in get_args(part))}
        ]
        ranges = [made for part in parts for made in getattr(part, "__metadata__", ()) if isinstance(made, Range)]
        if kinds:
            found[name] = kinds[0], next(iter(ranges), None)
    return found


KINDS = [
    kind for name in samplers.__all__ if isinstance(kind := getattr(samplers, name), type) and issubclass(kind, Sampler)
]
KINDS = [kind for kind in KINDS if dataclasses.is_dataclass(kind) and kind is not Sampler]


@pytest.mark.parametrize("kind", [*KINDS, Perceptual], ids=lambda kind: kind.__name__)
def test_every_number_of_a_sampler_has_a_range_that_is_kept(kind):
    others = {"sampler": samplers.DPS(), "gaussian": gaussian.load()}
    needed = {f.name: others[f.name] for f in dataclasses.fields(kind) if f.name in others}
    for name, (number, allowed) in numbers(kind).items():
        assert allowed is not None, f"{kind.__name__}.{name} has no range"
        wrong = [allowed.low - 1, *([allowed.low] if allowed.above else [])]
        wrong += [allowed.high + 1] if number is int else [math.nan, math.inf, -math.inf]
        for value in map(number, wrong):
            with pytest.raises(ValueError, match=f"{kind.__name__}: {name}: got .*, expected"):
                kind(**needed, **{name: value})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sampler=daps", "sampler.sigma_min=nan"], "sampler.sigma_min: got nan, expected a finite number > 0"),
        (["sampler=daps", "sampler.sigma_min=200"], "sigma_min: got 200.0, expected at most sigma_max, 100.0"),
        (["sampler=dps", "sampler.zeta=-1"], "sampler.zeta: got -1.0, expected a finite number >= 0"),
        (["sampler=pigdm", "sampler.eta=-inf"], "sampler.eta: got -inf, expected a number in [0, 1]"),
        (["sampler=mmps", "sampler.rtol=-1"], "sampler.rtol: got -1"),
        (["sampler=tv", "task=denoising", "sampler.weight=inf"], "sampler.weight: got inf"),
        (["sampler=mmps_mean", "sampler.sampler.steps=0"], "sampler.sampler.steps: got 0"),
        (["sampler=ddrm", "sampler.steps=2000"], "got 2000, expected 1 to 1000"),
        (["sampler=dps_restarts", "sampler.sampler.steps=2000"], "got 2000, expected 1 to 1000"),
        (["sampler=dps", "sampler.steps=true"], "sampler.steps: got True (bool), expected int"),
        (["sampler=dps", "guidance.pixel=nan"], "guidance.pixel: got nan"),
        (["task.sigma=1e5"], "got sigma 100000.0; expected a number in [0, 100]"),
        (["task.bits=0"], "got bits 0"),
        (["task=inpaint_random", "task.operator.fraction=nan"], "task.operator.fraction: got nan"),
        (["task=inpaint_box", "task.operator.hole=64"], "hole"),
        (["task=phase_retrieval", "task.operator.oversample=1e5"], "oversample 100000.0"),
        (["task=deblur_gaussian", "task.operator.std=inf"], "task.operator.std: got inf, expected a finite number"),
        (["compute.batch_size=1e23"], "compute.batch_size"),
        (["compute.threads=1000000"], "compute.threads: got 1000000, expected a whole number from 0 to 1000"),
        (["dataset=leaves", "dataset.size=100000"], "dataset.size: got 100000"),
        (["tuned=photos46/sr_x4/dps"], "photos46"),
        (["+settings=photos46"], "photos46"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_makes_no_sense_is_refused_before_anything_is_computed(capsys, words, said):
    assert main([*QUICK, *words]) == 2
    assert said in capsys.readouterr().err


def test_keys_that_nobody_reads_are_named(monkeypatch, capsys):
    from safari_bench.cli import running
    from safari_bench.errors import SafariBenchError

    def stop(job):
        raise SafariBenchError("ready")

    monkeypatch.setattr(running, "run_cell", stop)
    main([*QUICK, "sampler=unconditional", "task.noise=jpeg", "task.sigma=0.1", "guidance=pixel"])
    said = capsys.readouterr().err
    assert (
        "note: sampler=unconditional does not read guidance.pixel, guidance.spatial, guidance.low, guidance.high"
        in said
    )
    assert "note: task.noise=jpeg does not read task.sigma\n" in said
    main([*QUICK, "sampler=safari", "task.noise=speckle", "task.sigma=0.1", "guidance=pixel"])
    assert "note:" not in capsys.readouterr().err
