"""What holds for every layout, and, told by pictures of one grey each, what is shown when."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core import distributed
from translate.data.dataset import DataSet, Layout
from translate.data.image import read, write
from translate.data.labelled import Labelled
from translate.data.paired import Paired
from translate.data.preparation import Preparation
from translate.data.tensors import to_image, to_tensor
from translate.data.unlabelled import Unlabelled
from translate.data.unpaired import Unpaired

AUGMENT = (
    {"transform": "ColorJitter", "p": 1.0},
    {"transform": "GaussNoise", "p": 0.5},
    {"transform": "RandomRotate90", "p": 0.5},
)
Draw = Callable[[str, int], str]


def noisy() -> Preparation:
    return Preparation(size=8, load_ratio=1.5, augment=AUGMENT)


def unpaired(draw: Draw) -> Layout:
    return Unpaired(noisy(), domains=(draw("a", 3), draw("b", 4)))


def paired(draw: Draw) -> Layout:
    return Paired(noisy(), domains=(draw("a", 5), draw("b", 5)))


def aligned(draw: Draw) -> Layout:
    return Paired(noisy(), aligned=draw("a", 5))


def coloured(draw: Draw) -> Layout:
    return Paired(noisy(), images=draw("a", 5), derive="colour")


def filled(draw: Draw) -> Layout:
    return Paired(noisy(), images=draw("a", 5), derive="fill")


def labelled(draw: Draw) -> Layout:
    draw("classes/few", 2)
    return Labelled(noisy(), images=str(Path(draw("classes/many", 5)).parent))


def unlabelled(draw: Draw) -> Layout:
    return Unlabelled(noisy(), images=draw("a", 5))


EVERY = (unpaired, paired, aligned, coloured, filled, labelled, unlabelled)


@pytest.fixture(params=EVERY, ids=lambda make: make.__name__)
def layout(request: pytest.FixtureRequest, tmp_path: Path, draw: Callable[..., Path]) -> Layout:
    return request.param(lambda name, count: str(draw(tmp_path / name, count, size=12)))


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    assert one.keys() == two.keys()
    return all(torch.equal(one[key], two[key]) for key in one)


def pictures(batch: dict[str, Tensor]) -> Tensor:
    """One of the batch's tensors of pictures."""
    return batch["x"] if "x" in batch else batch["image"]


# ------------------------------------------------------------------------------------ every layout


def test_a_batch_is_a_function_of_seed_and_position(layout: Layout) -> None:
    """In any order, whatever else draws random numbers, and in another process."""
    data, again = DataSet(layout, 0, batch_size=2), DataSet(layout, 0, batch_size=2)
    forward = [data[at].batch for at in range(6)]
    torch.manual_seed(123)
    np.random.seed(5)
    backward = [again[at].batch for at in reversed(range(6))][::-1]
    sent = pickle.loads(pickle.dumps(DataSet(pickle.loads(pickle.dumps(layout)), 0, batch_size=2)))
    for at, batch in enumerate(forward):
        assert equal(batch, backward[at])
        assert equal(batch, data[at].batch)
        assert equal(batch, sent[at].batch)
    other = DataSet(layout, 1, batch_size=2)
    assert not equal(other[0].batch, forward[0])


def test_augmentation_differs_from_epoch_to_epoch(layout: Layout) -> None:
    data = DataSet(layout, 0, batch_size=2)
    shown = [image for at in range(10) for image in pictures(data[at].batch)]
    assert len({image.numpy().tobytes() for image in shown}) == len(shown) == 20


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_batch_out_row_by_row(
    layout: Layout, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several epochs, with a file that cannot be read."""
    layout.streams[0].entries[1].files[0].write_bytes(b"")
    alone = DataSet(layout, 3, batch_size=6)
    shares = []
    monkeypatch.setattr(distributed, "world", lambda: world)
    for rank in range(world):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append(DataSet(layout, 3, batch_size=6))
    broken = False
    for at in range(4):
        whole, parts = alone[at], [share[at] for share in shares]
        keys = whole.batch.keys()
        assert equal(whole.batch, {k: torch.cat([p.batch[k] for p in parts]) for k in keys})
        assert {k: v for p in parts for k, v in p.broken.items()} == whole.broken
        assert all(len(v) == 6 // world for p in parts for v in p.batch.values())
        broken |= bool(whole.broken)
    assert broken
    assert {share.batches_per_epoch() for share in shares} == {alone.batches_per_epoch()}


def test_a_batch_that_processes_cannot_share_is_refused(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world", lambda: 4)
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 4 processes, not 6"):
        DataSet(layout, 0, batch_size=6)


def test_a_batch_size_does_not_change_a_samples_augmentation(layout: Layout) -> None:
    single, triple = DataSet(layout, 0), DataSet(layout, 0, batch_size=3)
    rows = [single[at].batch for at in range(6)]
    for at in range(2):
        three = rows[3 * at : 3 * at + 3]
        assert equal(triple[at].batch, {k: torch.cat([r[k] for r in three]) for k in three[0]})


def test_samples_to_judge_by_are_the_same_each_time(layout: Layout) -> None:
    """And for each seed; what is trained on is not."""
    one, two = (DataSet(layout, seed, validation_share=0.5) for seed in (0, 1))
    assert equal(one.held_out_batch(2), two.held_out_batch(2))
    assert one.held_out_batch(1).keys() == one[0].batch.keys()
    assert not equal(one[0].batch, two[0].batch)


def test_a_blank_batch_is_of_a_batchs_kind(layout: Layout) -> None:
    """Where the default device says, as large as the recipe says; labels are class 0."""
    batch = DataSet(layout, 0, batch_size=2)[0].batch
    values: dict[str, Any] = {"size": 8, "aspect": (1, 1), "channels": 3, "derive": ""}
    if "x" in batch:
        values["channels"] = tuple(batch[key].shape[1] for key in "xy")
    blank = layout.blank(values)
    assert {k: (v.shape, v.dtype) for k, v in blank.items()} == {
        k: (v.shape, v.dtype) for k, v in batch.items()
    }
    if "label" in blank:
        assert blank["label"].tolist() == [0, 0]
    with torch.device("meta"):
        wide = layout.blank(values | {"size": 4, "aspect": (2, 3)})
    assert all(value.is_meta for value in wide.values())
    assert pictures(wide).shape[2:] == (8, 12)


@pytest.mark.parametrize("make", EVERY)
def test_samples_are_as_wide_and_high_as_the_recipe_says(
    make: Callable[[Draw], Layout],
    tmp_path: Path,
    draw: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(globals(), "noisy", lambda: Preparation(size=8, aspect=(2, 3)))
    layout = make(lambda name, count: str(draw(tmp_path / name, count, size=12)))
    data = DataSet(layout, 0, batch_size=2)
    for batch in (data[0].batch, data.held_out_batch(2)):
        assert {value.shape[2:] for value in batch.values() if value.ndim == 4} == {(16, 24)}
    assert not layout.squares


def test_what_a_layout_says_of_its_pictures(tmp_path: Path, draw: Callable[..., Path]) -> None:
    """Only "resize_crop" shows all of a picture as a square; only "none" leaves sizes alone."""
    folder = str(draw(tmp_path / "a" / "b", 2))
    draw(tmp_path / "a" / "c", 2)
    for name, keeps, squares in (
        ("resize_crop", False, True),
        ("crop", False, False),
        ("none", True, False),
    ):
        prepare = Preparation(size=8, preprocess=name)  # type: ignore[arg-type]
        for layout in (
            Unpaired(prepare, domains=(folder, folder), names=("a", "b")),
            Paired(prepare, aligned=folder),
            Labelled(prepare, images=str(tmp_path / "a")),
            Unlabelled(prepare, images=folder),
        ):
            assert (layout.keeps_sizes, layout.squares) == (keeps, squares)


def test_a_sheet_shows_pictures_beside_each_other(layout: Layout) -> None:
    """As bytes, a row for each, whatever its name."""
    batch = DataSet(layout, 0, batch_size=2)[0].batch
    image = layout.picture("image", torch.rand(2, 3, 4, 6), batch)
    sheet = layout.sheet({"image": image, "made image": -image})
    assert sheet.dtype == np.uint8
    for row, images in enumerate((image, -image)):
        for column in range(2):
            part = sheet[6 * row :][:4, 8 * column :][:, :6]
            np.testing.assert_array_equal(part, to_image(images[column]))


# ------------------------------------------------------------------------------------------ epochs


def flat(folder: Path, count: int, size: int = 8) -> str:
    """Pictures of one grey value each, by which they are known: 10, 20, 30, ..."""
    for number in range(count):
        write(folder / f"{number:02}.png", np.full((size, size, 3), 10 * (number + 1), np.uint8))
    return str(folder)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    return flat(tmp_path / "drawings", 7), flat(tmp_path / "paintings", 4)


def dataset(folders: tuple[str, str], seed: int = 0, **arguments: Any) -> DataSet:
    """Greys in two streams, "drawings" and "paintings"."""
    validation = arguments.pop("validation", ())
    names = ("drawings", "paintings")
    prepare = Preparation(size=8)
    layout = Unpaired(prepare, domains=folders, names=names, validation=validation)
    return DataSet(layout, seed, **arguments)


def greys(images: Tensor) -> list[int]:
    return [int(to_image(image)[0, 0, 0]) for image in images]


def seen(data: DataSet, key: str, positions: range) -> list[int]:
    return [grey for at in positions for grey in greys(data[at].batch[key])]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_every_picture_of_a_stream_is_seen_once_in_its_epoch(
    folders: tuple[str, str], batch_size: int
) -> None:
    data = dataset(folders, batch_size=batch_size)
    positions = range(60)
    for key, count in (("x", 7), ("y", 4)):
        values = seen(data, key, positions)
        epochs = [values[at : at + count] for at in range(0, len(values) - count + 1, count)]
        assert len(epochs) >= 8
        for epoch in epochs:
            assert sorted(epoch) == [10 * (n + 1) for n in range(count)]
        assert len({tuple(epoch) for epoch in epochs}) > 4  # shuffled anew in each


@pytest.mark.parametrize(("batch_size", "batches"), [(1, 7), (2, 4), (7, 1), (8, 1)])
def test_an_epoch_shows_the_longest_stream_once(
    folders: tuple[str, str], batch_size: int, batches: int
) -> None:
    assert dataset(folders, batch_size=batch_size).batches_per_epoch() == batches
    assert dataset(folders[::-1], batch_size=batch_size).batches_per_epoch() == batches


def test_streams_are_shuffled_apart(folders: tuple[str, str]) -> None:
    """With equal counts too: otherwise the same two pictures would always meet."""
    data = dataset((folders[1], folders[1]))
    pairs = set(zip(seen(data, "x", range(40)), seen(data, "y", range(40)), strict=True))
    assert len(pairs) > 8  # of 16


def test_streams_are_augmented_apart(tmp_path: Path, draw: Callable[..., Path]) -> None:
    """Otherwise two pictures that meet would always be cut and mirrored alike."""
    folder = str(draw(tmp_path / "a", 1, size=12))
    prepare = Preparation(size=8, preprocess="crop")
    data = DataSet(Unpaired(prepare, domains=(folder, folder), names=("a", "b")), 0)
    batches = [data[at].batch for at in range(60)]
    alike = sum(torch.equal(batch["x"], batch["y"]) for batch in batches)
    assert 0 <= alike <= 5  # of 25 places, mirrored or not: 60 / 50


# ---------------------------------------------------------------------------------------- held out


@pytest.mark.parametrize(("share", "held"), [(0.0, (0, 0)), (0.25, (2, 1)), (0.5, (4, 2))])
def test_what_is_held_out_is_never_trained_on(
    folders: tuple[str, str], share: float, held: tuple[int, int]
) -> None:
    data = dataset(folders, validation_share=share)
    assert tuple(len(stream.entries) for stream in data.held_out) == held
    assert data.judges == (share > 0)
    batch = data.held_out_batch(100)
    for domain, (key, count) in enumerate((("x", 7), ("y", 4))):
        trained = set(seen(data, key, range(3 * count)))
        assert len(trained) == count - held[domain]
        if held[domain]:
            judged = greys(batch[key])
            assert len(judged) == held[domain]
            assert trained.isdisjoint(judged)
            assert trained | set(judged) == {10 * (n + 1) for n in range(count)}


def test_the_share_held_out_does_not_hang_on_the_seed(folders: tuple[str, str]) -> None:
    """A resumed or repeated run, whatever its seed, judges by the same pictures."""
    one, two = (dataset(folders, seed, validation_share=0.3) for seed in (0, 1))
    assert [s.entries for s in one.held_out] == [s.entries for s in two.held_out]
    spread = dataset(folders, validation_share=0.43).held_out_batch(9)["x"]
    assert greys(spread) == [10, 30, 50]  # not the first three, which may be of one kind


@pytest.mark.parametrize(
    ("count", "shown"), [(1, [10]), (2, [10, 40]), (4, [10, 20, 40, 60]), (6, None), (99, None)]
)
def test_a_few_to_judge_by_are_spread_over_all(
    folders: tuple[str, str], count: int, shown: list[int] | None
) -> None:
    """Number i of n, of 7, is the one at i 7 / n, rounded down."""
    values = greys(dataset(folders).held_out_batch(count)["x"])
    assert len(set(values)) == len(values) == min(count, 7)
    assert shown is None or values == shown


def test_without_any_held_out_there_is_nothing_to_judge_by(folders: tuple[str, str]) -> None:
    assert not dataset(folders, validation_share=0.1).judges  # 1 of 7, 0 of 4
    assert len(dataset(folders, validation_share=0.1).held_out_batch(9)["y"]) == 4


def test_validation_folders_come_before_the_share(folders: tuple[str, str], tmp_path: Path) -> None:
    judges = flat(tmp_path / "v", 2), flat(tmp_path / "w", 3)
    data = dataset(folders, validation=judges, validation_share=0.5)
    assert data.judges
    assert [len(stream.entries) for stream in data.streams] == [7, 4]
    batch = data.held_out_batch(2)
    assert batch["x"].shape == batch["y"].shape == (2, 3, 8, 8)
    assert len(data.held_out_batch(9)["y"]) == 3


def test_pictures_to_judge_by_are_not_augmented(tmp_path: Path, draw: Callable[..., Path]) -> None:
    folder = str(draw(tmp_path / "a", 2, size=8))
    prepare = Preparation(size=8, load_ratio=1.0, augment=AUGMENT)
    data = DataSet(Unpaired(prepare, domains=(folder, folder), names=("a", "b")), 0)
    files = [to_tensor(read(Path(folder) / name)) for name in ("00.png", "01.png")]
    assert torch.equal(data.held_out_batch(2)["x"], torch.stack(files))


def test_pictures_to_judge_by_that_are_broken(folders: tuple[str, str], tmp_path: Path) -> None:
    judges = flat(tmp_path / "v", 2)
    data = dataset(folders, validation=(judges, judges))
    (tmp_path / "v" / "00.png").write_bytes(b"")
    assert greys(data.held_out_batch(1)["x"]) == [20]
    (tmp_path / "v" / "01.png").write_bytes(b"")
    with pytest.raises(ValueError, match="none of the pictures to judge drawings can be read"):
        data.held_out_batch(5)


def test_sizes_that_are_left_alone(tmp_path: Path) -> None:
    """Each is a batch of its own; pictures to judge by are those of the first one's size."""
    for name, size in (("a", 8), ("b", 12), ("c", 8)):
        write(tmp_path / "x" / f"{name}.png", np.zeros((size, 8, 3), np.uint8))
    folder = str(tmp_path / "x")
    layout = Unpaired(Preparation(preprocess="none"), domains=(folder, folder), names=("a", "b"))
    data = DataSet(layout, 0)
    assert sorted(data[at].batch["x"].shape[2] for at in range(3)) == [8, 8, 12]
    assert data.held_out_batch(3)["x"].shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"preprocess = 'none' .* batch_size must be 1"):
        DataSet(layout, 0, batch_size=2)


# ------------------------------------------------------------------------------------ few pictures


def test_fewer_pictures_than_a_batch_takes_are_told(folders: tuple[str, str]) -> None:
    """7 drawings and 4 paintings; what is held out does not count."""
    assert dataset(folders, batch_size=4).thin() == []
    (paintings,) = dataset(folders, batch_size=5).thin()
    assert paintings.startswith("4 of paintings for batches of 5: some come several times in one")
    assert [said[:13] for said in dataset(folders, batch_size=8).thin()] == [
        "7 of drawings",
        "4 of painting",
    ]
    (held,) = dataset(folders, batch_size=3, validation_share=0.5).thin()
    assert held.startswith("2 of paintings for batches of 3")


def test_a_batch_of_one_picture_alone_is_refused(folders: tuple[str, str]) -> None:
    for name in ("01.png", "02.png", "03.png"):
        Path(folders[1], name).unlink()
    with pytest.raises(ValueError, match="paintings has one picture for batches of 2: give more"):
        dataset(folders, batch_size=2)
    assert dataset(folders).thin() == []


# ------------------------------------------------------------------------------------------ broken


def test_a_broken_pictures_place_is_taken_by_the_next(folders: tuple[str, str]) -> None:
    before = seen(dataset(folders), "x", range(14))
    for name in ("02.png", "03.png"):  # 30 and 40
        Path(folders[0], name).write_bytes(b"")
    data = dataset(folders)
    expected = [50 if value in (30, 40) else value for value in before]
    assert seen(data, "x", range(14)) == expected
    broken = data[before.index(30)].broken
    assert [Path(path).name for path in broken] == ["02.png", "03.png"]
    assert all(reason == f"{path}: empty" for path, reason in broken.items())
    assert data[before.index(70)].broken == {}
    assert data.count_broken(broken) == {"drawings": (2, 7), "paintings": (0, 4)}


def test_the_last_pictures_place_is_taken_by_the_first(folders: tuple[str, str]) -> None:
    before = seen(dataset(folders), "y", range(4))
    Path(folders[1], "03.png").write_bytes(b"")
    assert seen(dataset(folders), "y", range(4)) == [10 if v == 40 else v for v in before]


def test_a_stream_without_a_readable_picture_has_no_batch(folders: tuple[str, str]) -> None:
    for path in Path(folders[1]).iterdir():
        path.write_bytes(b"")
    item = dataset(folders, batch_size=2)[0]
    assert item.batch.keys() == {"x"}
    assert len(item.broken) == 4


# ---------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more, not 0"),
        ({"validation_share": 1.0}, "shares"),
        ({"validation_share": -0.1}, "shares"),
        ({"validation_share": 0.95}, "validation_share = 0.95 leaves none to train on"),
        ({"max_broken": 1.1}, "shares"),
        ({"max_broken": -0.1}, "shares"),
    ],
)
def test_what_is_refused(folders: tuple[str, str], arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        dataset(folders, **arguments)
