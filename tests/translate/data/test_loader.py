import multiprocessing
import os
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from translate.data.dataset import DataSet
from translate.data.labelled import Labelled
from translate.data.loader import Batches, resolve_workers
from translate.data.paired import Paired
from translate.data.preparation import Preparation
from translate.data.unpaired import Unpaired
from translate.errors import UserError

CPU = torch.device("cpu")
AUGMENT = ({"transform": "ColorJitter", "p": 1.0}, {"transform": "GaussNoise", "p": 0.5})


def prepare() -> Preparation:
    return Preparation(size=8, load_ratio=1.5, augment=AUGMENT)


@pytest.fixture
def data(tmp_path: Path, draw: Callable[..., Path]) -> DataSet:
    """5 and 4 pictures, augmented, in batches of 2: every third batch lies across epochs."""
    folders = str(draw(tmp_path / "a", 5, size=12)), str(draw(tmp_path / "b", 4, size=12))
    return DataSet(Unpaired(prepare(), domains=folders), 0, batch_size=2, max_broken=0.4)


@pytest.fixture
def pairs(tmp_path: Path, draw: Callable[..., Path]) -> DataSet:
    folders = str(draw(tmp_path / "c", 5, size=12)), str(draw(tmp_path / "d", 5, size=12))
    return DataSet(Paired(prepare(), domains=folders), 0, batch_size=2, max_broken=0.4)


@pytest.fixture
def classes(tmp_path: Path, draw: Callable[..., Path]) -> DataSet:
    for name, count in (("few", 2), ("many", 5)):
        draw(tmp_path / "classes" / name, count, size=12)
    return DataSet(Labelled(prepare(), images=str(tmp_path / "classes")), 0, batch_size=2)


def files(data: DataSet, stream: int) -> list[Path]:
    return [entry.files[0] for entry in data.streams[stream].entries]


def some(batches: Batches, count: int) -> list[dict[str, Tensor]]:
    with closing(batches):
        return list(islice(batches, count))


def equal(one: list[dict[str, Tensor]], two: list[dict[str, Tensor]]) -> bool:
    assert len(one) == len(two)
    assert all(a.keys() == b.keys() for a, b in zip(one, two, strict=True))
    return all(torch.equal(a[key], b[key]) for a, b in zip(one, two, strict=True) for key in a)


def test_workers_change_no_bit(data: DataSet) -> None:
    """Over three epochs of the larger domain and the first batches of a resumed run."""
    alone = some(Batches(data, 0, CPU, workers=0), 9)
    assert equal(alone, some(Batches(data, 0, CPU, workers=2), 9))
    assert not torch.equal(alone[0]["x"], alone[1]["x"])


@pytest.mark.parametrize("layout", ["pairs", "classes"])
def test_workers_change_no_bit_of_other_layouts(
    layout: str, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue(layout)
    alone = some(Batches(data, 0, CPU, workers=0), 6)
    assert equal(alone, some(Batches(data, 0, CPU, workers=2), 6))


def test_a_later_start_goes_on_where_an_earlier_one_stopped(data: DataSet) -> None:
    whole = some(Batches(data, 0, CPU, workers=0), 7)
    assert equal(whole[3:], some(Batches(data, 3, CPU, workers=0), 4))
    assert not equal(whole[:4], whole[3:])


def test_training_never_runs_out_of_batches(data: DataSet) -> None:
    assert len(some(Batches(data, 10**6, CPU, workers=0), 3)) == 3


def test_closing_ends_the_workers(data: DataSet) -> None:
    batches = Batches(data, 0, CPU, workers=2)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert multiprocessing.active_children() == []
    Batches(data, 0, CPU, workers=0).close()


def test_broken_files_are_told_once(data: DataSet) -> None:
    path = files(data, 0)[1]
    path.write_bytes(b"")
    said: list[str] = []
    batches = Batches(data, 0, CPU, said.append, workers=0)
    some(batches, 10)
    assert list(batches.broken) == [str(path)]
    assert said == [f"skipped {path}: empty"]


@pytest.mark.parametrize("side", [0, 1])
def test_a_pair_with_a_broken_file_is_told_once(pairs: DataSet, side: int) -> None:
    """And counted once: two of five are allowed."""
    broken = [entry.files[side] for entry in pairs.streams[0].entries[1:3]]
    for path in broken:
        path.write_bytes(b"")
    said: list[str] = []
    batches = Batches(pairs, 0, CPU, said.append, workers=0)
    some(batches, 10)
    assert sorted(said) == [f"skipped {path}: empty" for path in broken]
    assert pairs.count_broken(batches.broken) == {"c and d": (2, 5)}
    pairs.streams[0].entries[4].files[1 - side].write_bytes(b"")
    with pytest.raises(UserError, match="3 of 5 pictures in c and d cannot be read"):
        some(Batches(pairs, 0, CPU, said.append, workers=0), 10)


@pytest.mark.parametrize("first", range(4))
def test_neighbours_that_are_broken_are_told_once_each(data: DataSet, first: int) -> None:
    """The first one's place is looked for at the second, which may have come up before."""
    broken = files(data, 0)[first : first + 2]
    for path in broken:
        path.write_bytes(b"")
    said: list[str] = []
    some(Batches(data, 0, CPU, said.append, workers=0), 10)
    assert sorted(said) == [f"skipped {path}: empty" for path in broken]


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_broken_files_are_an_error(data: DataSet, workers: int) -> None:
    for path in files(data, 1)[:2]:  # 2 of 4, more than 0.4
        path.write_bytes(b"")
    with pytest.raises(UserError) as told:
        some(Batches(data, 0, CPU, workers=workers), 10)
    assert str(told.value).startswith("2 of 4 pictures in b cannot be read, more than data.max_")
    assert "empty" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_share_just_allowed_is_no_error(data: DataSet) -> None:
    for path in files(data, 0)[:2]:  # 2 of 5, exactly 0.4
        path.write_bytes(b"")
    batches = Batches(data, 0, CPU, workers=0)
    some(batches, 10)
    assert len(batches.broken) == 2


def test_not_one_readable_file_is_an_error_whatever_the_share(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    folders = str(draw(tmp_path / "a", 2)), str(draw(tmp_path / "b", 1))
    (tmp_path / "b" / "00.png").write_bytes(b"")
    data = DataSet(Unpaired(Preparation(size=8), domains=folders), 0, max_broken=1.0)
    with pytest.raises(UserError, match="1 of 1 pictures in b cannot be read"):
        next(Batches(data, 0, CPU, workers=0))


def test_workers_for_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_workers("auto", CPU) == 0
    assert resolve_workers(3, CPU) == 3
    gpu: Any = torch.device("cuda")
    for cores, processes, expected in ((1, 1, 1), (2, 1, 1), (4, 1, 3), (64, 1, 4), (16, 4, 3)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        monkeypatch.setattr(
            os, "sched_getaffinity", lambda _, n=cores: set(range(n)), raising=False
        )
        assert resolve_workers("auto", gpu) == expected
    with pytest.raises(ValueError, match="workers must be 0 or more"):
        resolve_workers(-1, CPU)
