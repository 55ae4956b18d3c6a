"""What goes into a row comes out of it: every bit of a number, every character of a text; names of configurations."""

from pathlib import Path

import numpy as np
import pytest

from safari_bench.ledger import HEAD, Cell, LedgerError, run_id

TRICKY = [
    "007",
    "12e5",
    "1e400",
    "nan",
    "inf",
    "NA",
    "None",
    "null",
    "True",
    "",
    " a ",
    "0x1F",
    "1_000",
    "-0",
    "é 画像",
]
TRICKY += [
    'with "quotes", commas',
    "two\nlines",
    "carriage\rreturn",
    "\r\n",
    "'single'",
    "=1+1",
    "tab\t",
    "\\n",
    "#",
    "nul\0",
]
RNG = np.random.default_rng(0)
RANDOM = RNG.integers(0, 2**64, 1500, dtype=np.uint64).view(np.float64)
SPECIAL = [
    0.0,
    -0.0,
    np.nan,
    np.inf,
    -np.inf,
    5e-324,
    1.7976931348623157e308,
    0.1,
    1e16,
    1e22,
    123456789.0,
    2**53,
    -1.0,
]


def rows(ids: list[str], numbers: list[float], texts: list[str]) -> list[dict[str, object]]:
    return [
        dict.fromkeys(HEAD, t) | {"image_id": i, "sigma": n, "seed": k, "status": "ok", "psnr": -n, "image_file": t}
        for k, (i, n, t) in enumerate(zip(ids, numbers, texts, strict=True))
    ]


def bits(values: object) -> list[int]:
    """The bits, with every NaN as the same one."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isnan(array), np.nan, array).view(np.uint64).tolist()


@pytest.mark.parametrize("closed", [False, True])
def test_numbers_and_text_survive(tmp_path: Path, closed: bool) -> None:
    numbers = [*RANDOM.tolist(), *SPECIAL]
    ids = [str(n) for n in range(len(numbers))]
    texts = [TRICKY[n % len(TRICKY)] for n in range(len(numbers))]
    cell = Cell(tmp_path, ids)
    with cell.lock():
        cell.open({"spec": {}})
        cell.append(rows(ids, numbers, texts))
        if closed:
            cell.close()
    frame = Cell.at(tmp_path).rows()
    assert (cell.folder / "rows.csv").exists() == closed
    assert bits(frame.sigma) == bits(numbers)
    assert bits(frame.psnr) == bits([-n for n in numbers])
    assert list(frame.seed) == list(range(len(numbers)))
    for column in ("reason", "image_sha256", "image_file", "prior"):
        assert list(frame[column]) == texts


def test_ids_that_look_like_something_else(tmp_path: Path) -> None:
    ids = [text for text in TRICKY if text]
    cell = Cell(tmp_path, ids)
    with cell.lock():
        cell.open({"spec": {}})
        cell.append(rows(ids, [1.0] * len(ids), ids))
        cell.close()
    assert list(Cell.at(tmp_path).rows().image_id) == ids and cell.complete()


def test_none_reads_back_as_no_text_and_no_number(tmp_path: Path) -> None:
    cell = Cell(tmp_path, ["a"])
    with cell.lock():
        cell.open({"spec": {}})
        cell.append([dict.fromkeys(HEAD) | {"image_id": "a", "seed": 1, "status": "failed", "psnr": None}])
        frame = cell.close()
    for seen in (frame, Cell.at(tmp_path).rows()):
        assert seen.reason[0] == "" and np.isnan(seen.psnr[0]) and np.isnan(seen.sigma[0])


def test_run_id_is_the_sha256_of_canonical_json() -> None:
    # echo -n '{"a":{"b":[1,0.5,null,true]},"z":"x"}' | sha256sum
    assert run_id({"z": "x", "a": {"b": [1, 0.5, None, True]}}) == "20aab0c30c3a"
    assert run_id({"a": {"b": (1.0, 0.5, None, True)}, "z": "x"}) == "20aab0c30c3a"


def test_run_id_tells_configurations_apart() -> None:
    values = [1, 2, "1", True, False, None, 1.5, 0.1 + 0.2, 0.3, [1], [], {}, {"a": 1}, "", "true", float("inf"), 1e300]
    assert len({run_id({"zeta": value}) for value in values}) == len(values)
    assert run_id({"zeta": 1}) != run_id({"eta": 1})
    assert run_id({"x": 0.0}) == run_id({"x": 0}) == run_id({"x": -0.0})


def test_run_id_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(LedgerError, match=r"plain JSON.*set is not JSON serializable.*OmegaConf"):
        run_id({"tasks": {"a"}})
