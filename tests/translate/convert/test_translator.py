import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gan_core.checkpoint import load_model, save_model
from translate.convert.translator import Translator, open_translator
from translate.data.derived import DERIVED
from translate.data.image import read, resize, with_channels, write
from translate.data.tensors import to_image, to_tensor
from translate.errors import TooLargeError, UserError
from translate.model import load_network
from translate.networks.resnet import ResnetGenerator

Mistake = Callable[..., str]
CPU = torch.device("cpu")


class Same(nn.Module):
    """Gives back what it is given, in ``makes`` channels."""

    def __init__(self, makes: int = 3) -> None:
        super().__init__()
        self.makes = makes

    def forward(self, x: Tensor) -> Tensor:
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


def test_no_network_mixes_pictures_on_a_cpu() -> None:
    """Not even one that would."""

    class Mixing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean()

    translator = Translator(Mixing(), (3, 3), CPU, "fp32")
    images = [noise(8, 8, 3), noise(8, 8, 3) // 2]
    for image, made in zip(images, translator(images), strict=True):
        np.testing.assert_array_equal(translator([image])[0], made)


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
    ("change", "says"),
    [
        (lambda header: header.update(translations="both"), "string indices"),
        (lambda header: header.update(translations=2), "not reversible"),
        (lambda header: header["translations"][0].pop("network"), "'network'"),
        (lambda header: header["translations"][0].pop("from"), "'from'"),
        (lambda header: header["translations"][1].pop("to"), "'to'"),
        (lambda header: header["translations"][0].update(network="H"), "'H'"),
        (lambda header: header.pop("channels"), "'channels'"),
        (lambda header: header["channels"].pop("drawings"), "'drawings'"),
        (lambda header: header.update(derived="warmth"), "'warmth'"),
        (lambda header: header.update(derived=["colour"]), "unhashable"),
    ],
)
def test_headers_that_say_too_little_or_something_else(
    model: Path,
    tmp_path: Path,
    mistake: Mistake,
    change: Callable[[dict[str, Any]], object],
    says: str,
) -> None:
    write(tmp_path / "in" / "a.png", noise(8, 8, 3))
    path = changed(model, tmp_path, change)
    whole = (f"{path} holds a model that cannot be built here: ", says)
    mistake("convert", path, tmp_path / "in", tmp_path / "out", "--device", "cpu", says=whole)
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
            **{"norm": "instance", "dropout": False, "recompute": False},
            **{"init": "normal", "init_gain": 0.02},
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


@pytest.mark.parametrize("at", [16, 50])
def test_what_is_transparent_is_not_averaged_in(model: Path, at: int) -> None:
    """Two pictures that look alike, whatever colours are hidden under their holes."""
    one, other = noise(32, 48, 4), 255 - noise(32, 48, 4)
    one[..., 3] = other[..., 3] = np.where(noise(32, 48, 1) < 128, 0, 255)[..., 0]
    shown = one[..., 3] > 0
    other[shown] = one[shown]
    translator, _ = open_translator(model, None, CPU, "fp32", at=at)
    np.testing.assert_array_equal(*(translator([image])[0] for image in (one, other)))
    np.testing.assert_array_equal(*(seen_at(at, image) for image in (one, other)))


def seen_at(at: int, image: np.ndarray) -> np.ndarray:
    """What a network that knows alpha is shown of a picture."""

    class Keep(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.seen = x
            return x

    net = Keep()
    Translator(net, (4, 4), CPU, "fp32", at=at)([image])
    return to_image(net.seen[0], image.dtype.type)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_count_as_much_as_they_are_opaque(dtype: type) -> None:
    """By hand: four pixels become one, of their colours' mean weighted by alpha."""
    top = np.iinfo(dtype).max
    pixels = np.array([[[30, 60, 90, top], [90, 0, 30, top], [0, 0, 0, 0], [255, 9, 9, 0]]], dtype)
    image = pixels.reshape(2, 2, 4)
    assert seen_at(1, image).tolist() == [[[60, 30, 60, round(top / 2)]]]
    image[0, 1, 3] = top // 5  # weights 5 and 1
    assert seen_at(1, image).tolist() == [[[40, 50, 80, round(top * 0.3)]]]
    clear = np.zeros((4, 4, 4), dtype)
    assert seen_at(2, clear).tolist() == np.zeros((2, 2, 4)).tolist()
    solid = image[:1, :1].repeat(6, 0).repeat(8, 1)
    np.testing.assert_array_equal(seen_at(9, solid), solid[:1, :1].repeat(9, 0).repeat(12, 1))


# --------------------------------------------------------- networks whose input is made of pictures


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("derived")


@pytest.fixture
def trained(
    shelf: Path, data_of: Callable[..., Any], command: Callable[..., Any]
) -> Callable[[str], Path]:
    """The model of two steps of a recipe; its U-Net takes sides that are multiples of 64."""

    def train(name: str) -> Path:
        run = shelf / name / "run"
        if not run.exists():
            outcome = command(
                *("train", "pix2pix", "--recipe", name, *data_of(name, shelf / name)),
                *("--size", 64, "--batch-size", 2, "--steps", 2, "--workers", 0),
                *("--set", "networks.generator.filters=4", "--set", "networks.generator.depth=6"),
                *("--set", "networks.discriminator.filters=4"),
                *("--device", "cpu", "--precision", "fp32", "--out", run),
            )
            assert outcome.code == 0
        return run

    return train


SIZES = [(1, 1), (1, 50), (70, 1), (3, 7), (64, 64), (65, 40), (130, 3), (63, 129)]


@pytest.mark.parametrize("name", ["colourise", "inpaint"])
def test_pictures_of_any_size_and_kind(
    trained: Callable[[str], Path], command: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    channels = (1, 3, 4)
    for number, size in enumerate(SIZES):
        for count in channels:
            write(tmp_path / "in" / f"{number}-{count}.png", noise(*size, count))
            write(tmp_path / "in" / f"{number}-{count}.tiff", noise(*size, count, np.uint16))
    outcome = command(
        "convert", trained(name), tmp_path / "in", tmp_path / "out", "--device", "cpu"
    )
    assert outcome.out.startswith("48 converted from ")
    for before, after in both(tmp_path):
        kept = before.shape[2] == 4 and name == "colourise"
        assert after.shape == (*before.shape[:2], 4 if kept else 3)
        assert after.dtype == before.dtype


@pytest.mark.parametrize("name", ["colourise", "inpaint"])
@pytest.mark.parametrize("width", [100, 140])
def test_a_unet_sees_pictures_in_its_training_square_unless_told_otherwise(
    trained: Callable[[str], Path],
    command: Callable[..., Any],
    tmp_path: Path,
    name: str,
    width: int,
) -> None:
    write(tmp_path / "a.png", with_holes(100, width, np.uint8)[0])
    made = {}
    for at in ((), ("--at", 64), ("--at", 0), ("--at", 100)):
        words = ("convert", trained(name), tmp_path / "a.png", tmp_path / "b.png", *at)
        assert command(*words, "--device", "cpu", "--overwrite").code == 0
        made[at] = (tmp_path / "b.png").read_bytes()
    assert made["--at", 64] != made["--at", 0] == made["--at", 100]
    assert (made[()] == made["--at", 64]) == (width == 100), "a square is in proportion"


def test_the_square_is_what_the_network_is_shown(
    trained: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    translator, _ = open_translator(trained("colourise"), None, CPU, "fp32")
    seen = []
    translator.net.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[2:]))
    (made,) = translator([np.zeros((1, 3000, 3), np.uint8)])
    assert seen == [(64, 64)]
    assert made.shape == (1, 3000, 3)


def both(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pictures of ``in``, each with what it became in ``out``."""
    for path in sorted((folder / "in").iterdir()):
        yield read(path), read(folder / "out" / path.name)


@pytest.mark.parametrize("name", ["colourise", "inpaint"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_derived_pictures_are_the_same_alone_and_among_others(
    trained: Callable[[str], Path], name: str, precision: str
) -> None:
    """In 16 bits, of a size at which no vector unit comes out even."""
    translator, _ = open_translator(trained(name), None, CPU, precision)
    images = [np.roll(noise(29, 31, 4, np.uint16), shift) for shift in range(8)]
    together = translator(images)
    for image, made in zip(images, together, strict=True):
        np.testing.assert_array_equal(translator([image])[0], made)
    assert len({made.tobytes() for made in together}) == 8


def test_pictures_are_made_of_what_their_own_became() -> None:
    class Between:
        """The mean of all that it is given."""

        spends_alpha = False

        def seen(self, image: np.ndarray) -> Tensor:
            return torch.from_numpy(image.transpose(2, 0, 1) / np.float32(255))

        def picture(self, made: Tensor, seen: Tensor) -> Tensor:
            return (made.mean() * torch.ones_like(made) + seen) / 2

    images = [np.full((8, 8, 3), value, np.uint8) for value in (0, 51, 255)]
    made = Translator(Same(3), (3, 3), CPU, "fp32", derived=Between())(images)  # type: ignore
    for image, found in zip(images, made, strict=True):
        assert np.unique(found).tolist() == [round((image[0, 0, 0] / 255 + 1) * 127.5)]


def lightness(rgb: np.ndarray) -> np.ndarray:
    """L* of sRGB in 0 ... 1 (CIE 15 with the primaries of IEC 61966-2-1)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126390, 0.7151687, 0.0721923]
    return 116 * np.where(y > (6 / 29) ** 3, np.cbrt(y), y / (3 * (6 / 29) ** 2) + 4 / 29) - 16


def same_lightness(before: np.ndarray, after: np.ndarray) -> None:
    """Wherever sRGB has the colour, so that nothing was clipped.

    Each channel was rounded by at most half a step, and L* rises with each of them; 0.02 is what
    the matrix's usual six digits leave open.
    """
    top = np.iinfo(after.dtype).max
    inside = ((after > 0) & (after < top)).all(axis=2)
    assert inside.mean() > 0.95
    wanted = lightness(with_channels(before, 3) / top)
    assert (lightness((after - 0.5) / top) - 0.02 <= wanted)[inside].all()
    assert (wanted <= lightness((after + 0.5) / top) + 0.02)[inside].all()


def mid(height: int, width: int, channels: int, dtype: type) -> np.ndarray:
    """Noise in the middle third, where sRGB has all colours that a network of two steps makes."""
    top = np.iinfo(dtype).max
    return (noise(height, width, channels, dtype) // 3 + top // 3).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("at", [0, None])
def test_colour_keeps_the_lightness(
    trained: Callable[[str], Path], channels: int, dtype: type, at: int | None
) -> None:
    """Also where the network sees the picture at half its size, its training size: at the picture's
    own the grey is known."""
    translator, chosen = open_translator(trained("colourise"), None, CPU, "fp32", at=at)
    assert (chosen["from"], chosen["to"]) == ("grey", "colour")
    image = mid(128, 192, channels, dtype)
    (made,) = translator([image])
    assert made.shape == (128, 192, 3)
    assert made.dtype == dtype
    same_lightness(image, made)
    assert np.ptp(made.astype(int), axis=2).mean() > 0.01 * np.iinfo(dtype).max, "it has colour"


def test_colour_reads_nothing_but_the_lightness(
    trained: Callable[[str], Path], command: Callable[..., Any], tmp_path: Path
) -> None:
    """A grey picture and the same one stored in colour, in one call of the command."""
    grey = mid(70, 50, 1, np.uint8)
    write(tmp_path / "in" / "grey.png", grey)
    write(tmp_path / "in" / "colour.png", with_channels(grey, 3))
    words = (trained("colourise"), tmp_path / "in", tmp_path / "out")
    outcome = command("convert", *words, "--device", "cpu")
    assert outcome == (0, "2 converted from grey to colour\n", "")
    (_, one), (_, other) = both(tmp_path)
    np.testing.assert_array_equal(one, other)
    same_lightness(grey, one)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_keeps_alpha(trained: Callable[[str], Path], dtype: type) -> None:
    """The lightness is that of the picture on white."""
    translator, _ = open_translator(trained("colourise"), None, CPU, "fp32")
    top = np.iinfo(dtype).max
    image = np.concatenate([mid(64, 64, 3, dtype), noise(64, 64, 1, dtype)], axis=2)
    image[..., 3] = np.maximum(image[..., 3], top // 2)  # white itself would be clipped
    (made,) = translator([image])
    np.testing.assert_array_equal(made[..., 3], image[..., 3])
    same_lightness(image, made[..., :3])


def with_holes(height: int, width: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """A picture, and where it is known: a rectangle is not, nor what is less than half opaque."""
    image, half = noise(height, width, 4, dtype), np.iinfo(dtype).max / 2
    image[height // 4 : height // 2, width // 4 : width // 2, 3] = 0
    image[0, :4, 3] = 0, np.floor(half), np.ceil(half), 2 * half
    known = image[..., 3] > half
    assert known[0, :4].tolist() == [False, False, True, True]
    return image, known


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_holes_are_filled_by_the_network_and_the_rest_is_kept(
    trained: Callable[[str], Path], dtype: type
) -> None:
    """Of a size that needs no extending, so that the network's pixels are easily had."""
    run = trained("inpaint")
    image, known = with_holes(64, 128, dtype)
    seen = torch.from_numpy(known)
    x = torch.cat([to_tensor(image[..., :3]) * seen, torch.where(seen, 1.0, -1.0)[None]])
    net = load_network(run, *load_model(run / "model.safetensors"), "G").eval()
    with torch.inference_mode():
        network = to_image(net(x[None])[0], dtype)
    translator, _ = open_translator(run, None, CPU, "fp32", at=0)
    (made,) = translator([image])
    assert made.dtype == dtype
    np.testing.assert_array_equal(made, np.where(known[..., None], image[..., :3], network))
    hidden = image.copy()
    hidden[~known, :3] = 0  # what is stored under a hole does not show
    np.testing.assert_array_equal(translator([hidden])[0], made)


@pytest.mark.parametrize("at", [None, 100, 300])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_known_is_kept_at_its_own_size(
    trained: Callable[[str], Path], dtype: type, at: int | None
) -> None:
    """However large the network sees the picture; and it does not see what is under the holes."""
    image, known = with_holes(128, 192, dtype)
    hidden = image.copy()
    hidden[image[..., 3] == 0, :3] = 0
    plain, made, same = (
        open_translator(trained("inpaint"), None, CPU, "fp32", at=side)[0]([picture])[0]
        for side, picture in ((0, image), (at, image), (at, hidden))
    )
    np.testing.assert_array_equal(made[known], image[known, :3])
    assert (made[~known] != plain[~known]).mean() > 0.5
    np.testing.assert_array_equal(same, made)


def test_pictures_with_holes_through_the_command(
    trained: Callable[[str], Path], command: Callable[..., Any], tmp_path: Path
) -> None:
    """Without alpha nothing is to be done; where all is transparent, all is made."""
    holes = {"holes.png": with_holes(50, 70, np.uint8), "holes.tiff": with_holes(50, 70, np.uint16)}
    whole = {
        **{"colour.png": noise(33, 20, 3), "sixteen.png": noise(33, 20, 3, np.uint16)},
        **{"grey.png": noise(33, 20, 1), "grey.pgm": noise(33, 20, 1)},
    }
    opaque, clear = (np.dstack([noise(9, 9, 3), np.full((9, 9), a, np.uint8)]) for a in (255, 0))
    pictures = whole | {"opaque.png": opaque, "clear.png": clear}
    for name, image in (pictures | {name: image for name, (image, _) in holes.items()}).items():
        write(tmp_path / "in" / name, image)
    words = (trained("inpaint"), tmp_path / "in", tmp_path / "out", "--device", "cpu")
    assert command("convert", *words)[:2] == (0, "8 converted from holes to whole\n")

    out = {path.name: read(path) for path in (tmp_path / "out").iterdir()}
    for name, image in whole.items():
        made = out[name.replace(".pgm", ".ppm")]
        assert made.dtype == image.dtype
        np.testing.assert_array_equal(made, with_channels(image, 3))
    for name, (image, known) in holes.items():
        assert out[name].dtype == image.dtype
        np.testing.assert_array_equal(out[name][known], image[known, :3])
        assert (out[name][~known] != image[~known, :3]).mean() > 0.9
    np.testing.assert_array_equal(out["opaque.png"], opaque[..., :3])
    assert (out["clear.png"] != clear[..., :3]).mean() > 0.9


def test_noise_reaches_the_holes_alone(trained: Callable[[str], Path]) -> None:
    image, known = with_holes(64, 64, np.uint8)
    made = [
        open_translator(trained("inpaint"), None, CPU, "fp32", noise=seed)[0]([image])[0]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0][known], made[2][known])
    assert (made[0][~known] != made[2][~known]).any()


@pytest.mark.parametrize("name", DERIVED)
def test_a_derived_model_that_makes_no_numbers(name: str) -> None:
    class Diverged(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :2] * torch.nan if name == "colour" else x[:, :3] * torch.nan

    derived = DERIVED[name]
    with pytest.raises(UserError, match="--precision fp32"):
        Translator(Diverged(), derived.channels, CPU, "fp32", derived=derived)([noise(8, 8, 4)])
