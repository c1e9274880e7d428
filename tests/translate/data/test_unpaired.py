from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from translate.data.image import read, write
from translate.data.tensors import to_image, to_tensor
from translate.data.unpaired import Unpaired


def flat(folder: Path, count: int, size: int = 8) -> Path:
    """Pictures of one grey value each, by which they are known: 10, 20, 30, ..."""
    for number in range(count):
        write(folder / f"{number:02}.png", np.full((size, size, 3), 10 * (number + 1), np.uint8))
    return folder


def seen(data: Unpaired, key: str, positions: range) -> list[int]:
    """The grey values of the pictures in batches, in order."""
    images = [image for at in positions for image in data[at].batch[key]]
    return [int(to_image(image)[0, 0, 0]) for image in images]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    return str(flat(tmp_path / "drawings", 7)), str(flat(tmp_path / "paintings", 4))


def unpaired(folders: tuple[str, str], seed: int = 0, **arguments: Any) -> Unpaired:
    return Unpaired(seed, **{"domains": folders, "size": 8, **arguments})


def test_a_batch_is_what_training_wants(folders: tuple[str, str]) -> None:
    item = unpaired(folders, batch_size=3)[0]
    assert item.broken == {}
    assert item.batch.keys() == {"x", "y"}
    for images in item.batch.values():
        assert images.shape == (3, 3, 8, 8)
        assert images.dtype == torch.float32
        assert -1 <= images.min() <= images.max() <= 1


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_every_picture_of_a_domain_is_seen_once_in_its_epoch(
    folders: tuple[str, str], batch_size: int
) -> None:
    data = unpaired(folders, batch_size=batch_size)
    positions = range(60)
    for key, count in (("x", 7), ("y", 4)):
        values = seen(data, key, positions)
        epochs = [values[at : at + count] for at in range(0, len(values) - count + 1, count)]
        assert len(epochs) >= 8
        for epoch in epochs:
            assert sorted(epoch) == [10 * (n + 1) for n in range(count)]
        assert len({tuple(epoch) for epoch in epochs}) > 4  # shuffled anew in each


@pytest.mark.parametrize(("batch_size", "batches"), [(1, 7), (2, 4), (7, 1), (8, 1)])
def test_an_epoch_shows_the_larger_domain_once(
    folders: tuple[str, str], batch_size: int, batches: int
) -> None:
    assert unpaired(folders, batch_size=batch_size).batches_per_epoch() == batches
    assert unpaired(folders[::-1], batch_size=batch_size).batches_per_epoch() == batches


def test_pairs_are_not_fixed(folders: tuple[str, str]) -> None:
    """With equal counts too: otherwise the same two pictures would always meet."""
    data = unpaired((folders[1], folders[1]), names=("a", "b"))
    pairs = Counter(zip(seen(data, "x", range(40)), seen(data, "y", range(40)), strict=True))
    assert len(pairs) > 8  # of 16


def noisy(tmp_path: Path, draw: Callable[..., Path], seed: int = 0, **arguments: Any) -> Unpaired:
    augment = ({"transform": "ColorJitter", "p": 1.0}, {"transform": "GaussNoise", "p": 0.5})
    folders = str(draw(tmp_path / "a", 3, size=12)), str(draw(tmp_path / "b", 4, size=12))
    return unpaired(folders, seed, batch_size=2, load_ratio=1.5, augment=augment, **arguments)


def test_a_batch_is_a_function_of_seed_and_position(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    data, again = noisy(tmp_path, draw), noisy(tmp_path, draw)
    forward = [data[at].batch for at in range(8)]
    torch.manual_seed(123)
    np.random.seed(5)
    backward = {at: again[at].batch for at in reversed(range(8))}
    for at, batch in enumerate(forward):
        for key in ("x", "y"):
            assert torch.equal(batch[key], backward[at][key])
            assert torch.equal(batch[key], data[at].batch[key])
    other = noisy(tmp_path, draw, seed=1)
    assert not torch.equal(other[0].batch["x"], forward[0]["x"])


def test_augmentation_differs_from_epoch_to_epoch(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    data = noisy(tmp_path, draw)
    images = [image for at in range(12) for image in data[at].batch["x"]]
    assert len({image.numpy().tobytes() for image in images}) == len(images) == 24


def test_a_batch_size_does_not_change_a_pictures_augmentation(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    pairs = noisy(tmp_path, draw)
    single = unpaired(
        (str(tmp_path / "a"), str(tmp_path / "b")),
        **{"load_ratio": 1.5, "augment": ({"transform": "ColorJitter", "p": 1.0},)},
        batch_size=1,
    )
    double = unpaired(
        (str(tmp_path / "a"), str(tmp_path / "b")),
        **{"load_ratio": 1.5, "augment": ({"transform": "ColorJitter", "p": 1.0},)},
        batch_size=2,
    )
    assert pairs[0].batch["x"].shape == double[0].batch["x"].shape
    assert torch.equal(double[1].batch["y"][1], single[3].batch["y"][0])


def test_half_of_the_pictures_are_mirrored(tmp_path: Path, draw: Callable[..., Path]) -> None:
    folder = str(draw(tmp_path / "a", 1, size=8))
    picture = to_tensor(read(tmp_path / "a" / "00.png"))
    for flip, low, high in ((True, 70, 130), (False, 0, 0)):
        data = unpaired((folder, folder), names=("a", "b"), load_ratio=1.0, flip=flip)
        mirrored = 0
        for at in range(200):
            image = data[at].batch["x"][0]
            assert torch.equal(image, picture) or torch.equal(image, picture.flip(2))
            mirrored += torch.equal(image, picture.flip(2))
        assert low <= mirrored <= high


def test_channels_of_each_domain(folders: tuple[str, str]) -> None:
    data = unpaired(folders, channels=(1, 4))
    assert data.channels_of() == {"x": 1, "y": 4}
    batch = data[0].batch
    assert batch["x"].shape == (1, 1, 8, 8)
    assert batch["y"].shape == (1, 4, 8, 8)
    assert (batch["y"][:, 3] == 1).all()  # opaque


def test_names(folders: tuple[str, str]) -> None:
    assert unpaired(folders).names == ("drawings", "paintings")
    assert unpaired(folders, names=("a", "b")).names == ("a", "b")


# ----------------------------------------------------------------------------------------- held out


@pytest.mark.parametrize(("share", "held"), [(0.0, (0, 0)), (0.25, (2, 1)), (0.5, (4, 2))])
def test_what_is_held_out_is_never_trained_on(
    folders: tuple[str, str], share: float, held: tuple[int, int]
) -> None:
    data = unpaired(folders, validation_share=share)
    assert tuple(map(len, data.held_out)) == held
    batch = data.held_out_batch(100)
    for domain, (key, count) in enumerate((("x", 7), ("y", 4))):
        trained = set(seen(data, key, range(3 * count)))
        assert len(trained) == count - held[domain]
        judged = [int(to_image(image)[0, 0, 0]) for image in batch[key]]
        if held[domain]:
            assert len(judged) == held[domain]
            assert trained.isdisjoint(judged)
            assert trained | set(judged) == {10 * (n + 1) for n in range(count)}


def test_the_share_held_out_does_not_hang_on_the_seed(folders: tuple[str, str]) -> None:
    """A resumed or repeated run, whatever its seed, judges by the same pictures."""
    one, two = (unpaired(folders, seed, validation_share=0.3) for seed in (0, 1))
    assert one.held_out == two.held_out
    spread = [int(path.stem) for path in unpaired(folders, validation_share=0.43).held_out[0]]
    assert spread == [0, 2, 4]  # not the first three, which may be of one kind


def test_validation_folders(folders: tuple[str, str], tmp_path: Path) -> None:
    judges = str(flat(tmp_path / "v", 2)), str(flat(tmp_path / "w", 3))
    data = unpaired(folders, validation=judges, validation_share=0.5)
    assert tuple(map(len, data.files)) == (7, 4)
    batch = data.held_out_batch(2)
    assert batch["x"].shape == batch["y"].shape == (2, 3, 8, 8)
    assert len(data.held_out_batch(9)["y"]) == 3


def test_pictures_to_judge_by_are_the_same_each_time(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    data = noisy(tmp_path, draw, validation_share=0.5)
    one, two = data.held_out_batch(5), data.held_out_batch(5)
    assert torch.equal(one["x"], two["x"])
    assert len(one["y"]) == 2


def test_pictures_to_judge_by_that_are_broken(folders: tuple[str, str], tmp_path: Path) -> None:
    judges = flat(tmp_path / "v", 2)
    data = unpaired(folders, validation=(str(judges), str(judges)))
    (judges / "00.png").write_bytes(b"")
    assert len(data.held_out_batch(5)["x"]) == 1
    (judges / "01.png").write_bytes(b"")
    with pytest.raises(ValueError, match="none of the pictures to judge drawings can be read"):
        data.held_out_batch(5)


# ------------------------------------------------------------------------------------------- broken


def test_a_broken_pictures_place_is_taken_by_the_next(folders: tuple[str, str]) -> None:
    whole = unpaired(folders)
    before = seen(whole, "x", range(14))
    for name in ("02.png", "03.png"):  # 30 and 40
        Path(folders[0], name).write_bytes(b"")
    data = unpaired(folders)
    expected = [50 if value in (30, 40) else value for value in before]
    assert seen(data, "x", range(14)) == expected
    at = before.index(30)
    broken = data[at].broken
    assert [Path(path).name for path in broken] == ["02.png", "03.png"]
    for path, reason in broken.items():
        assert path in reason
        assert "empty" in reason
    assert data[before.index(70)].broken == {}
    assert data.count_broken(broken) == {"drawings": (2, 7), "paintings": (0, 4)}


def test_the_last_pictures_place_is_taken_by_the_first(folders: tuple[str, str]) -> None:
    before = seen(unpaired(folders), "y", range(4))
    Path(folders[1], "03.png").write_bytes(b"")
    assert seen(unpaired(folders), "y", range(4)) == [10 if v == 40 else v for v in before]


def test_a_domain_without_a_readable_picture_has_no_batch(folders: tuple[str, str]) -> None:
    for path in Path(folders[1]).iterdir():
        path.write_bytes(b"")
    item = unpaired(folders, batch_size=2)[0]
    assert item.batch.keys() == {"x"}
    assert len(item.broken) == 4


# ----------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": 0}, "multiple of 4"),
        ({"size": 10}, "multiple of 4, not 10"),
        ({"load_ratio": 0.9}, "load_ratio must be 1 or more"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"preprocess": "none", "batch_size": 2}, "batch_size must be 1"),
        ({"validation_share": 1.0}, "shares"),
        ({"validation_share": -0.1}, "shares"),
        ({"validation_share": 0.95}, "leaves none to train on"),
        ({"max_broken": 1.1}, "shares"),
        ({"names": ("a", "a")}, "names must differ"),
        ({"augment": ({"transform": "Blurr"},)}, "did you mean 'Blur'"),
    ],
)
def test_what_is_refused(folders: tuple[str, str], arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unpaired(folders, **arguments)
