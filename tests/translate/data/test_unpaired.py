from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from translate.data.dataset import DataSet
from translate.data.image import write
from translate.data.preparation import Preparation
from translate.data.tensors import to_tensor
from translate.data.unpaired import Unpaired
from translate.errors import UserError

GREY = np.arange(0, 256, 4, np.uint8).reshape(8, 8, 1)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    """A grey picture twice, and two in red and green."""
    write(tmp_path / "drawings" / "0.png", GREY)
    write(tmp_path / "drawings" / "1.png", GREY)
    for name, channel in (("0", 0), ("1", 1)):
        colour = np.zeros((8, 8, 3), np.uint8)
        colour[..., channel] = 255
        write(tmp_path / "paintings" / "deep" / f"{name}.png", colour)
    return str(tmp_path / "drawings"), str(tmp_path / "paintings")


def unpaired(folders: tuple[str, str], **arguments: Any) -> Unpaired:
    prepare = Preparation(size=8, load_ratio=1.0, flip=False)
    return Unpaired(prepare, **{"domains": folders, **arguments})


def batch(layout: Unpaired) -> dict[str, Tensor]:
    return DataSet(layout, 0, batch_size=2)[0].batch


def test_a_batch_is_what_training_wants(folders: tuple[str, str]) -> None:
    """x of the first folder, y of the second, sub-folders included."""
    images = batch(unpaired(folders))
    assert images.keys() == {"x", "y"}
    assert all(i.shape == (2, 3, 8, 8) and i.dtype == torch.float32 for i in images.values())
    assert torch.equal(images["x"], to_tensor(GREY).expand(2, 3, 8, 8))
    means = sorted(image.mean((1, 2)).tolist() for image in images["y"])
    assert means == [[-1, 1, -1], [1, -1, -1]]


def test_channels_of_each_domain(folders: tuple[str, str]) -> None:
    layout = unpaired(folders, channels=(1, 4))
    assert layout.channels == Unpaired.channels_of({"channels": (1, 4)}) == {"x": 1, "y": 4}
    images = batch(layout)
    assert torch.equal(images["x"], to_tensor(GREY).expand(2, 1, 8, 8))
    assert images["y"].shape == (2, 4, 8, 8)
    assert (images["y"][:, 3] == 1).all()  # opaque
    assert batch(unpaired(folders, channels=(3, 1)))["y"].shape == (2, 1, 8, 8)


def test_names_are_the_folders_or_given(folders: tuple[str, str]) -> None:
    assert unpaired(folders).names == {"x": "drawings", "y": "paintings"}
    named = unpaired(folders, names=("a", "b"))
    assert named.names == {"x": "a", "y": "b"}
    assert named.title == ("a", "b")
    assert [stream.name for stream in named.streams] == ["a", "b"]


def test_what_a_model_file_says(folders: tuple[str, str]) -> None:
    layout = unpaired(folders, names=("a", "b"), channels=(1, 3))
    assert layout.header({"G": ("x", "y"), "F": ("y", "x")}) == {
        "translations": [
            {"network": "G", "from": "a", "to": "b"},
            {"network": "F", "from": "b", "to": "a"},
        ],
        "channels": {"a": 1, "b": 3},
    }


def test_pictures_are_looked_at_as_they_are(folders: tuple[str, str]) -> None:
    layout = unpaired(folders)
    images = batch(layout)
    assert torch.equal(layout.picture("y", -images["x"], images), -images["x"])
    assert layout.figures.keys() == {"swd"}


def test_validation_folders(folders: tuple[str, str]) -> None:
    Path(folders[0], "1.png").unlink()
    layout = unpaired(folders, validation=folders[::-1])
    assert [len(stream.entries) for stream in layout.held_out] == [2, 1]
    judged = DataSet(layout, 0).held_out_batch(9)
    assert torch.equal(judged["y"][0], to_tensor(GREY).expand(3, 8, 8))
    assert not unpaired(folders).held_out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"domains": ()}, "give the two folders of pictures: --domains sketches photos"),
        ({"names": ("a", "a")}, "names must differ, not both be 'a'"),
        *(({"names": ("a", name)}, "usable in file names") for name in ("", "b/c", "b\\c", ".b")),
    ],
)
def test_what_is_refused(folders: tuple[str, str], arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unpaired(folders, **arguments)


def test_folders_of_one_name_and_folders_without_pictures(
    folders: tuple[str, str], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"both domains would be called 'drawings'.*--names"):
        unpaired((folders[0], folders[0]))
    (tmp_path / "empty").mkdir()
    for name, says in (("empty", "holds no pictures"), ("missing", "there is no folder")):
        for domains in ((str(tmp_path / name), folders[1]), (folders[0], str(tmp_path / name))):
            with pytest.raises(UserError, match=says):
                unpaired(domains)
        with pytest.raises(UserError, match=says):
            unpaired(folders, validation=(folders[0], str(tmp_path / name)))
