from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from translate.data.dataset import DataSet
from translate.data.image import write
from translate.data.preparation import Preparation
from translate.data.tensors import to_image
from translate.data.unlabelled import Unlabelled
from translate.errors import UserError


def greys(folder: Path, *values: int) -> str:
    """Pictures of one grey each, every other one in a sub-folder."""
    for place, value in enumerate(values):
        path = folder / ("deep" if place % 2 else "") / f"{value:03}.png"
        write(path, np.full((8, 8, 1), value, np.uint8))
    return str(folder)


def unlabelled(images: str, **arguments: Any) -> Unlabelled:
    return Unlabelled(Preparation(size=8), images=images, **arguments)


def test_a_batch_is_what_training_wants(tmp_path: Path) -> None:
    layout = unlabelled(greys(tmp_path / "faces", 10, 20, 30, 40))
    data = DataSet(layout, 0, batch_size=2)
    batches = [data[at].batch for at in range(2)]
    for batch in batches:
        assert batch.keys() == {"image"}
        assert batch["image"].shape == (2, 3, 8, 8)
        assert batch["image"].dtype == torch.float32
    shown = [int(to_image(image)[4, 4, 0]) for batch in batches for image in batch["image"]]
    assert sorted(shown) == [10, 20, 30, 40]
    assert (layout.names, layout.title) == ({"image": "faces"}, ("faces",))
    assert layout.found == {}
    assert data.counts() == {"faces": 4}
    assert not data.judges


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_are_converted_and_said(tmp_path: Path, channels: Any) -> None:
    layout = unlabelled(greys(tmp_path, 10, 20), channels=channels)
    image = DataSet(layout, 0)[0].batch["image"]
    assert image.shape == (1, channels, 8, 8)
    assert layout.channels == Unlabelled.channels_of({"channels": channels}) == {"image": channels}
    assert layout.header({}) == {"channels": channels}


def test_pictures_are_looked_at_and_judged_as_they_are(tmp_path: Path) -> None:
    layout = unlabelled(greys(tmp_path, 10, 20))
    made = torch.rand(2, 3, 16, 16)
    assert torch.equal(layout.picture("image", made, {}), made)
    assert layout.figures.keys() == {"swd"}
    assert layout.figures["swd"](made, -made) > layout.figures["swd"](made, made) > 0


def test_a_validation_folder(tmp_path: Path) -> None:
    layout = unlabelled(greys(tmp_path / "a", 10, 20), validation=(greys(tmp_path / "v", 200),))
    data = DataSet(layout, 0, validation_share=0.5)
    assert data.judges
    assert data.counts() == {"a": 2}
    assert (to_image(data.held_out_batch(9)["image"][0]) == 200).all()


def test_folders_that_are_not_there_or_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the folder of pictures: --images DIR"):
        unlabelled("")
    with pytest.raises(UserError, match=f"there is no folder {tmp_path}/missing"):
        unlabelled(str(tmp_path / "missing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{tmp_path}/empty holds no pictures"):
        unlabelled(greys(tmp_path / "a", 10), validation=(str(tmp_path / "empty"),))
