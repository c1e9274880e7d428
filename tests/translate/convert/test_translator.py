import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gan_core.checkpoint import load_model, save_model
from translate.convert.translator import Translator, open_translator
from translate.data.image import resize, with_channels, write
from translate.errors import TooLargeError, UserError
from translate.networks.resnet import ResnetGenerator

Mistake = Callable[..., str]
CPU = torch.device("cpu")


class Same(nn.Module):
    """Gives back what it is given, in ``makes`` channels; takes sides of at least 8, by 4."""

    multiple, smallest = 4, 8

    def __init__(self, makes: int = 3) -> None:
        super().__init__()
        self.makes = makes

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] % 4 == 0
        assert x.shape[3] % 4 == 0
        assert min(x.shape[2:]) >= 8
        return x.mean(1, keepdim=True) if self.makes == 1 else x[:, :1].repeat(1, self.makes, 1, 1)


def noise(height: int, width: int, channels: int, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng([height, width, channels])
    return rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 33), (100, 101), (8, 8), (4, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_size_comes_back_whole(size: tuple[int, int], dtype: type) -> None:
    image = noise(*size, 1, dtype)
    (made,) = Translator(Same(1), (1, 1), CPU, "fp32")([image])
    assert made.dtype == dtype
    np.testing.assert_array_equal(made, image)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 33), (100, 101)])
def test_a_real_network_takes_any_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = ResnetGenerator(3, 3, 16, filters=4, blocks=1)
    (made,) = Translator(net, (3, 3), CPU, "fp32")([noise(*size, 3)])
    assert made.shape == (*size, 3)


def test_pictures_are_extended_by_mirroring() -> None:
    """A repeated border row would be a stripe that instance norm sees."""

    class Keep(Same):
        def forward(self, x: Tensor) -> Tensor:
            self.seen = x
            return x

    net, image = Keep(), noise(10, 11, 3)
    Translator(net, (3, 3), CPU, "fp32")([image])
    assert net.seen.shape == (1, 3, 12, 12)
    torch.testing.assert_close(net.seen[:, :, 10], net.seen[:, :, 8])
    torch.testing.assert_close(net.seen[:, :, :, 11], net.seen[:, :, :, 9])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("takes", [1, 3, 4])
@pytest.mark.parametrize("makes", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels_are_converted_and_alpha_is_kept(
    channels: int, takes: int, makes: int, dtype: type
) -> None:
    image = noise(9, 10, channels, dtype)
    (made,) = Translator(Same(makes), (takes, makes), CPU, "fp32")([image])
    assert made.dtype == dtype
    if channels == 4 and makes != 4:
        assert made.shape == (9, 10, 4)
        np.testing.assert_array_equal(made[..., 3], image[..., 3])
    else:
        assert made.shape == (9, 10, makes)
    if makes > 1:
        np.testing.assert_array_equal(made[..., 0], with_channels(image, takes)[..., 0])


def test_each_picture_gets_its_own_alpha_back() -> None:
    images = [noise(8, 8, 4), 255 - noise(8, 8, 4)]
    made = Translator(Same(3), (3, 3), CPU, "fp32")(images)
    for image, result in zip(images, made, strict=True):
        np.testing.assert_array_equal(result[..., 3], image[..., 3])


def test_the_network_is_set_to_evaluation() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.5), nn.BatchNorm2d(3))
    translator = Translator(net.train(), (3, 3), CPU, "fp32")
    one, two = translator([noise(8, 8, 3)]), translator([noise(8, 8, 3), noise(8, 8, 3) // 2])
    np.testing.assert_array_equal(one[0], two[0])
    assert not any(p.requires_grad for p in net.parameters())


def test_bf16_is_near_fp32() -> None:
    torch.manual_seed(0)
    net = ResnetGenerator(3, 3, 16, filters=4, blocks=1, init="kaiming")
    image = noise(16, 16, 3)
    exact, near = (Translator(net, (3, 3), CPU, p)([image])[0] for p in ("fp32", "bf16"))
    difference = np.abs(exact.astype(int) - near).mean()
    assert 0 < difference < 3
    assert exact.std() > 10


def test_a_model_that_makes_no_numbers() -> None:
    class Diverged(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.nan

    with pytest.raises(UserError, match="--precision fp32"):
        Translator(Diverged(), (3, 3), CPU, "fp32")([noise(8, 8, 3)])


# -------------------------------------------------------------------------------------- model files


def test_the_direction_is_chosen_by_the_domain(model: Path) -> None:
    first, chosen = open_translator(model, None, CPU, "fp32")
    there, same = open_translator(model / "model.safetensors", "paintings", CPU, "fp32")
    back, other = open_translator(model, "drawings", CPU, "fp32")
    assert chosen == same == {"network": "G", "from": "drawings", "to": "paintings"}
    assert other == {"network": "F", "from": "paintings", "to": "drawings"}
    tensors, _ = load_model(model / "model.safetensors")
    for translator, name in ((first, "G"), (there, "G"), (back, "F")):
        for key, tensor in translator.net.state_dict().items():
            assert torch.equal(tensor, tensors[f"{name}.{key}"])
    image = noise(16, 16, 3)
    assert not np.array_equal(there([image])[0], back([image])[0])


def test_the_command_converts_both_ways(
    model: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    write(tmp_path / "a.png", noise(16, 16, 3))
    for name, title in (("drawings", "paintings to drawings"), ("paintings", "drawings to")):
        words = (model, tmp_path / "a.png", tmp_path / f"{name}.png", "--to", name)
        outcome = command("convert", *words, "--device", "cpu")
        assert outcome.code == 0
        assert title in outcome.out
    results = [(tmp_path / f"{name}.png").read_bytes() for name in ("drawings", "paintings")]
    assert results[0] != results[1]


def changed(model: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a model file with another header."""
    tensors, header = load_model(model / "model.safetensors")
    change(header)
    save_model(folder / "changed.safetensors", tensors, header)
    return folder / "changed.safetensors"


def test_models_that_cannot_be_used(model: Path, tmp_path: Path, mistake: Mistake) -> None:
    whole = (model / "model.safetensors").read_bytes()
    write(tmp_path / "in" / "a.png", noise(8, 8, 3))
    cut, text, empty = (tmp_path / f"{name}.safetensors" for name in ("cut", "text", "empty"))
    cut.write_bytes(whole[:-100])
    text.write_text("not a model\n" * 10)
    empty.write_bytes(b"")
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other)
    future = changed(model, tmp_path / "1", lambda header: header.update(format=2))
    gan = changed(model, tmp_path / "2", lambda h: (h.pop("translations"), h.update(method="gan")))
    kind = changed(model, tmp_path / "3", lambda h: h["networks"]["G"].update(kind="unet9"))
    shape = changed(
        model, tmp_path / "4", lambda h: h["networks"]["G"]["arguments"].update(blocks=2)
    )
    key = changed(
        model, tmp_path / "5", lambda h: h["networks"]["G"]["arguments"].update(deep=True)
    )
    gap = changed(model, tmp_path / "6", lambda h: h.pop("networks"))
    fresh = tmp_path / "run"
    shutil.copytree(model, fresh)
    (fresh / "model.safetensors").unlink()
    for path, says in (
        (cut, "is not a readable model file"),
        (text, "is not a readable model file"),
        (empty, "is not a readable model file"),
        (other, "is no model file of this toolkit"),
        (future, "its header says format 2, this version reads 1"),
        (gan, "is a gan model, which translates no pictures"),
        (kind, "'unet9'"),
        (shape, "cannot be built here"),
        (key, "deep"),
        (gap, "networks"),
        (fresh, "has no model.safetensors yet"),
        (tmp_path / "missing", "does not exist"),
    ):
        words = ("convert", path, tmp_path / "in", tmp_path / "out", "--device", "cpu")
        mistake(*words, says=(str(path), says))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--to", "painting"), "does not translate to 'painting'; did you mean 'paintings'?"),
        (("--to", "zzz"), "choose drawings, paintings"),
        (("--device", "gpu"), "no device 'gpu'"),
        (("--precision", "half"), "precision 'half': choose auto, fp32, bf16, fp16"),
    ],
)
def test_options_that_mean_nothing(
    model: Path, tmp_path: Path, mistake: Mistake, words: tuple[str, str], says: str
) -> None:
    write(tmp_path / "in" / "a.png", noise(8, 8, 3))
    mistake("convert", model, tmp_path / "in", tmp_path / "out", *words, says=(says,))
    assert not (tmp_path / "out").exists()


def test_a_model_file_says_all_that_is_needed(model: Path) -> None:
    _, header = load_model(model / "model.safetensors")
    assert header["networks"]["G"] == {
        "kind": "resnet",
        "arguments": {
            **{"in_channels": 3, "out_channels": 3, "size": 16, "filters": 4, "blocks": 1},
            **{"norm": "instance", "dropout": False, "init": "normal", "init_gain": 0.02},
        },
    }
    assert header["recipe"]["method"]["name"] == "cyclegan"
    assert not {"domains", "workers", "validation"} & header["recipe"]["data"].keys()
    assert str(model.parent) not in json.dumps(header)


def test_at_translates_small_and_gives_back_the_size(model: Path) -> None:
    """What is seen at 16 pixels is the translation of the picture shrunk to 16, enlarged again."""
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    plain, _ = open_translator(model, None, CPU, "fp32")
    small, _ = open_translator(model, None, CPU, "fp32", at=16)
    [made] = small([image])
    [expected] = plain([resize(image, 16, 24)])
    assert made.shape == image.shape
    assert np.array_equal(made, resize(expected, 32, 48))


def test_memory_that_is_short_says_how_to_mend_it(model: Path) -> None:
    translator, _ = open_translator(model, None, CPU, "fp32", at=10**7)
    with pytest.raises(TooLargeError, match=r"32 x 32 pixels are too many.*--at"):
        translator([np.zeros((32, 32, 3), np.uint8)])
