"""Pictures of one grey each: 32 times the class, plus the number of the picture."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from translate.data.dataset import DataSet
from translate.data.image import write
from translate.data.labelled import Labelled
from translate.data.preparation import Preparation
from translate.data.tensors import to_image
from translate.errors import UserError


def classes(folder: Path, **counts: int) -> str:
    """A sub-folder of ``count`` pictures for each class, deeper ones among them."""
    for place, (name, count) in enumerate(sorted(counts.items())):
        for number in range(count):
            image = np.full((8, 8, 3), 32 * place + number, np.uint8)
            write(folder / name / ("deep" if number % 2 else "") / f"{number:02}.png", image)
    return str(folder)


def labelled(images: str, **arguments: Any) -> Labelled:
    return Labelled(Preparation(size=8), images=images, **arguments)


def shown(data: DataSet, batches: int) -> list[tuple[int, int]]:
    """Of each sample, its class by the label and the number of its picture; both must agree."""
    samples = []
    for at in range(batches):
        batch = data[at].batch
        for image, label in zip(batch["image"], batch["label"].tolist(), strict=True):
            place, number = divmod(int(to_image(image)[0, 0, 0]), 32)
            assert place == label
            samples.append((label, number))
    return samples


def test_a_batch_is_what_training_wants(tmp_path: Path) -> None:
    layout = labelled(classes(tmp_path / "fruit", pear=2, apple=3))
    batch = DataSet(layout, 0, batch_size=4)[0].batch
    assert batch.keys() == {"image", "label"}
    assert batch["image"].shape == (4, 3, 8, 8)
    assert batch["image"].dtype == torch.float32
    assert batch["label"].shape == (4,)
    assert batch["label"].dtype == torch.int64
    assert layout.classes == ("apple", "pear")
    assert layout.channels == {"image": 3, "label": 2}
    assert (layout.names, layout.title) == ({"image": "fruit"}, ("fruit",))
    assert layout.header({}) == {"classes": ["apple", "pear"], "channels": 3}
    assert layout.figures.keys() == {"swd"}
    assert torch.equal(layout.picture("image", batch["image"], batch), batch["image"])


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_are_converted(tmp_path: Path, channels: Any) -> None:
    layout = labelled(classes(tmp_path, a=1, b=1), channels=channels)
    image = DataSet(layout, 0)[0].batch["image"]
    assert image.shape == (1, channels, 8, 8)
    if channels == 4:
        assert (image[0, 3] == 1).all()
    assert layout.channels["image"] == channels
    assert Labelled.channels_of({"channels": channels}) == {"image": channels, "label": 2}


# ----------------------------------------------------------------------------------------- balance


def test_each_class_comes_equally_often(tmp_path: Path) -> None:
    """In each epoch: of the larger class every picture once, of the tenth of it ten times."""
    data = DataSet(labelled(classes(tmp_path, few=2, many=20)), 0, batch_size=4)
    assert data.batches_per_epoch() == 10
    samples = shown(data, 30)
    epochs = [samples[at : at + 40] for at in range(0, 120, 40)]
    expected = {(0, n): 10 for n in range(2)} | {(1, n): 1 for n in range(20)}
    assert [Counter(epoch) for epoch in epochs] == [expected] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3  # shuffled anew
    assert 5 <= sum(label for label, _ in samples[:20]) <= 15  # and not class by class


def test_repetitions_are_shared_out_among_a_classs_pictures(tmp_path: Path) -> None:
    data = DataSet(labelled(classes(tmp_path, a=3, b=8, c=1)), 0, batch_size=24)
    counts = Counter(shown(data, 1))
    assert sorted(counts[0, n] for n in range(3)) == [2, 3, 3]
    assert [counts[1, n] for n in range(8)] == [1] * 8
    assert counts[2, 0] == 8


def test_without_balance_each_picture_comes_once(tmp_path: Path) -> None:
    data = DataSet(labelled(classes(tmp_path, few=2, many=20), balance=False), 0, batch_size=2)
    assert data.batches_per_epoch() == 11
    expected = {(0, n): 2 for n in range(2)} | {(1, n): 2 for n in range(20)}
    assert Counter(shown(data, 22)) == expected


def test_a_picture_that_is_repeated_is_augmented_anew(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    draw(tmp_path / "few", 1, size=20)
    draw(tmp_path / "many", 12, size=20)
    layout = Labelled(Preparation(size=8, preprocess="crop"), images=str(tmp_path))
    batch = DataSet(layout, 0, batch_size=24)[0].batch
    few = batch["image"][batch["label"] == 0]
    assert len(few) == 12
    assert len({image.numpy().tobytes() for image in few}) == 12


# ---------------------------------------------------------------------------------- broken, judged


def test_broken_pictures_are_replaced_label_and_all(tmp_path: Path) -> None:
    """By the next one, which is another class's at a class's end."""
    folder = classes(tmp_path, a=3, b=3)
    for name in ("a/00.png", "a/02.png", "b/deep/01.png"):
        (tmp_path / name).write_bytes(b"")
    data = DataSet(labelled(folder), 0, batch_size=6)
    samples = shown(data, 4)  # the labels agree, too
    readable = {(0, 1), (1, 0), (1, 2)}
    assert set(samples) == readable
    item = data[0]
    assert set(item.broken) == {
        str(tmp_path / name) for name in ("a/00.png", "a/02.png", "b/deep/01.png")
    }
    assert data.count_broken(item.broken) == {tmp_path.name: (3, 6)}
    assert len(data.held_out_batch(6)["label"]) == 3


def test_pictures_to_judge_by_are_of_each_class(tmp_path: Path) -> None:
    data = DataSet(labelled(classes(tmp_path, a=5, b=5, c=5)), 0)
    for count in (3, 6, 8, 12):
        labels = data.held_out_batch(count)["label"]
        assert labels.shape == (count,)
        assert torch.bincount(labels, minlength=3).min() >= count // 3


@pytest.mark.parametrize(
    ("share", "held"), [(0.1, (0, 1, 1)), (0.2, (0, 2, 1)), (0.4, (0, 4, 2)), (0.6, (0, 7, 3))]
)
def test_the_share_held_out_is_of_each_class(
    tmp_path: Path, share: float, held: tuple[int, ...]
) -> None:
    """Of 16 in all; a class with one picture keeps it to train on, and others make up for it."""
    folder = classes(tmp_path, a=1, b=10, c=5)
    data = DataSet(labelled(folder), 0, batch_size=8, validation_share=share)
    judged = Counter(data.held_out_batch(99)["label"].tolist())
    assert tuple(judged[label] for label in range(3)) == held
    trained = Counter(label for label, _ in set(shown(data, 6)))
    assert trained == Counter({0: 1, 1: 10, 2: 5}) - judged


def test_a_share_of_many_small_classes(tmp_path: Path) -> None:
    """A quarter of two pictures is none, but of eight classes it is four, of four classes."""
    folder = classes(tmp_path, **dict.fromkeys("abcdefgh", 2))
    data = DataSet(Labelled(Preparation(size=8), images=folder), 0, validation_share=0.25)
    labels = data.held_out_batch(9)["label"].tolist()
    assert len(labels) == len(set(labels)) == 4
    assert max(labels) - min(labels) >= 4  # spread, too


def test_a_share_that_would_take_a_class_whole_is_refused(tmp_path: Path) -> None:
    layout = labelled(classes(tmp_path, a=2, b=2))
    for share in (0.6, 0.8):
        labels = [e.label for e in DataSet(layout, 0, validation_share=share).streams[0].entries]
        assert labels == [0, 1], "of each class one is left"
    with pytest.raises(ValueError, match=r"validation_share = 0\.9 leaves none to train on"):
        DataSet(layout, 0, validation_share=0.9)


def test_a_class_of_one_picture_is_trained_on(tmp_path: Path) -> None:
    layout = labelled(classes(tmp_path, a=14, b=1))
    data = DataSet(layout, 0, validation_share=0.1)
    assert [entry.label for entry in data.streams[0].entries].count(1) == 1


def test_which_pictures_come_once_more_goes_round(tmp_path: Path) -> None:
    layout = labelled(classes(tmp_path, a=10, b=7))
    times = np.zeros(17, int)
    for epoch in range(7):
        order = layout.streams[0].order(epoch)
        assert sorted(np.bincount(order, minlength=17)[10:]) == [1] * 4 + [2] * 3
        times += np.bincount(order, minlength=17)
    assert (times[:10] == 7).all()
    assert (times[10:] == 10).all()


def test_a_validation_folder(tmp_path: Path) -> None:
    """Its classes are those trained on, by their names, though it lacks one."""
    folder = classes(tmp_path / "train", a=2, b=2, c=2)
    judges = classes(tmp_path / "v", b=1, c=3)
    data = DataSet(labelled(folder, validation=(judges,)), 0, validation_share=0.5)
    assert data.judges
    assert len(data.streams[0].entries) == 6
    assert sorted(data.held_out_batch(9)["label"].tolist()) == [1, 2, 2, 2]


def test_a_validation_folder_with_another_class(tmp_path: Path) -> None:
    folder = classes(tmp_path / "train", apple=1, pear=1)
    judges = classes(tmp_path / "v", apple=1, pears=1)
    with pytest.raises(UserError) as told:
        labelled(folder, validation=(judges,))
    assert str(told.value) == (
        f"{judges} has a class 'pears' that is not trained on; did you mean 'pear'?"
    )


# ---------------------------------------------------------------------------------------- mistakes


def test_fewer_than_two_classes(tmp_path: Path) -> None:
    """Hidden folders, and pictures beside the sub-folders, are no class."""
    write(tmp_path / "0.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / ".hidden").mkdir()
    for count in (0, 1):
        with pytest.raises(UserError, match=f"{tmp_path} has {count} sub-folders: classes are"):
            labelled(str(tmp_path))
        classes(tmp_path, only=1)


def test_folders_that_are_not_there_or_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="with a sub-folder for each class: --images DIR"):
        labelled("")
    with pytest.raises(UserError, match=f"there is no folder {tmp_path}/missing"):
        labelled(str(tmp_path / "missing"))
    folder = classes(tmp_path, a=1, b=1)
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match=f"{tmp_path}/c holds no pictures"):
        labelled(folder)
