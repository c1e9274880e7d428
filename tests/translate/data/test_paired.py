"""Pixels hold their place in the scene, so that the geometry of a pair is told from its values."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from translate.data.dataset import DataSet
from translate.data.image import encode, write
from translate.data.paired import Paired
from translate.data.preparation import Preparation
from translate.data.tensors import to_image
from translate.errors import UserError

Steps = tuple[dict[str, Any], ...]


def places(height: int, width: int, number: int = 0) -> np.ndarray:
    """Each pixel holds its row and column, 16 apart, and the picture's number, 8 apart."""
    grid = np.mgrid[:height, :width].transpose(1, 2, 0) * 16 + 8
    return np.dstack([grid, np.full((height, width), 8 * number + 4)]).astype(np.uint8)


def swapped(image: np.ndarray) -> np.ndarray:
    """Another picture of the same scene: rows stand where columns did."""
    return image[..., [1, 0, 2]]


def save(folder: Path, images: dict[str, np.ndarray]) -> str:
    for name, image in images.items():
        write(folder / name, image)
    return str(folder)


@pytest.fixture
def domains(tmp_path: Path) -> tuple[str, str]:
    """Three scenes of 16 x 16; one is stored as PNG here and BMP there, in a sub-folder."""
    scenes = {"b": places(16, 16, 1), "c": places(16, 16, 2)}
    save(tmp_path / "labels", {"deep/a.png": places(16, 16)})
    save(tmp_path / "photos", {"deep/a.bmp": swapped(places(16, 16))})
    return (
        save(tmp_path / "labels", {f"{k}.png": v for k, v in scenes.items()}),
        save(tmp_path / "photos", {f"{k}.png": swapped(v) for k, v in scenes.items()}),
    )


def still() -> Preparation:
    """Nothing is changed in pictures of 16 x 16."""
    return Preparation(size=16, load_ratio=1.0, flip=False)


def rows(layout: Paired, count: int, batch_size: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    """x and y of ``count`` samples, as pictures of 8 bits."""
    data = DataSet(layout, 0, batch_size=batch_size)
    batches = [data[at].batch for at in range(-(-count // batch_size))]
    return [
        (to_image(x), to_image(y))
        for batch in batches
        for x, y in zip(batch["x"], batch["y"], strict=True)
    ][:count]


# ---------------------------------------------------------------------------------------- geometry


def test_rows_are_pairs(domains: tuple[str, str]) -> None:
    """Each scene once in an epoch, its two pictures in one row; names without their suffixes."""
    layout = Paired(still(), domains=domains)
    batch = DataSet(layout, 0, batch_size=3)[0].batch
    assert batch.keys() == {"x", "y"}
    assert all(v.shape == (3, 3, 16, 16) and v.dtype == torch.float32 for v in batch.values())
    shown = rows(layout, 12)
    for x, y in shown:
        np.testing.assert_array_equal(x, places(16, 16, x[0, 0, 2] // 8))
        np.testing.assert_array_equal(y, swapped(x))
    numbers = [int(x[0, 0, 2]) // 8 for x, _ in shown]
    assert [sorted(numbers[at : at + 3]) for at in range(0, 12, 3)] == [[0, 1, 2]] * 4
    assert len({tuple(numbers[at : at + 3]) for at in range(0, 12, 3)}) > 1


def test_crops_and_flips_are_one(domains: tuple[str, str]) -> None:
    """8 x 8 of 16 x 16, at one place, mirrored or not: 81 x 2 geometries."""
    seen = set()
    for x, y in rows(Paired(Preparation(size=8, preprocess="crop"), domains=domains), 200, 5):
        np.testing.assert_array_equal(y, swapped(x))
        line, column = (x[..., axis].astype(int) // 16 for axis in (0, 1))
        assert (np.diff(line, axis=0) == 1).all()
        assert np.ptp(line, axis=1).max() == 0
        step = column[0, 1] - column[0, 0]
        assert (np.diff(column, axis=1) == step).all()
        assert abs(step) == 1
        seen.add((line[0, 0], column[0].min(), step))
    assert len(seen) > 90  # of 162; 200 draws reach 115 +- 5
    for axis, count in enumerate((9, 9, 2)):
        assert len({geometry[axis] for geometry in seen}) == count


@pytest.mark.parametrize("preprocess", ["resize_crop", "crop", "scale_width", "pad", "none"])
@pytest.mark.parametrize(
    "augment",
    [
        ({"transform": "HorizontalFlip", "p": 0.5}, {"transform": "RandomRotate90", "p": 0.5}),
        ({"transform": "Affine", "rotate": [-40, 40], "scale": [0.8, 1.2], "p": 0.8},),
        ({"transform": "ElasticTransform", "p": 0.5}, {"transform": "CoarseDropout", "p": 0.5}),
    ],
    ids=lambda steps: steps[0]["transform"],
)
def test_augmented_geometry_is_one(
    domains: tuple[str, str], preprocess: Any, augment: Steps
) -> None:
    """To the last bit: interpolation treats each channel alike."""
    prepare = Preparation(size=8, preprocess=preprocess, augment=augment)
    shown = rows(Paired(prepare, domains=domains), 24, 1)
    for x, y in shown:
        np.testing.assert_array_equal(y, swapped(x))
    assert len({x.tobytes() for x, _ in shown}) > 6


def test_colours_change_in_the_input_alone(domains: tuple[str, str]) -> None:
    """By less than half of what tells places apart, so that these can still be read."""
    augment = (
        {"transform": "RandomRotate90", "p": 0.5},
        {"transform": "GaussNoise", "std_range": [0.005, 0.005], "p": 1.0},
        {"transform": "VerticalFlip", "p": 0.5},
        {"transform": "RandomBrightnessContrast", "contrast_limit": [0, 0], "p": 1.0}
        | {"brightness_limit": [-0.01, 0.01]},
    )
    prepare = Preparation(size=8, preprocess="crop", augment=augment)
    for x, y in rows(Paired(prepare, domains=domains), 60):
        np.testing.assert_array_equal(x[..., :2] // 16, swapped(y)[..., :2] // 16)
        assert (y[..., :2] % 16 == 8).all()
        assert 0.3 < (x[..., :2] % 16 != 8).mean() <= 1


def test_to_judge_by_nothing_is_changed(domains: tuple[str, str]) -> None:
    augment = ({"transform": "InvertImg", "p": 1.0}, {"transform": "RandomRotate90", "p": 1.0})
    layout = Paired(Preparation(size=8, preprocess="crop", augment=augment), domains=domains)
    batch = DataSet(layout, 0).held_out_batch(9)
    for number, (x, y) in enumerate(zip(batch["x"], batch["y"], strict=True)):
        scene = places(16, 16, (1, 2, 0)[number])[4:12, 4:12]  # b, c, deep/a
        np.testing.assert_array_equal(to_image(x), scene)
        np.testing.assert_array_equal(to_image(y), swapped(scene))


@pytest.mark.parametrize("share", [0.34, 0.67])
def test_a_share_held_out(domains: tuple[str, str], share: float) -> None:
    layout = Paired(still(), domains=domains)
    data = DataSet(layout, 0, validation_share=share)
    judged = {int(to_image(x)[0, 0, 2]) for x in data.held_out_batch(9)["x"]}
    trained = {int(to_image(data[at].batch["x"][0])[0, 0, 2]) for at in range(6)}
    assert len(judged) == round(3 * share)
    assert judged | trained == {4, 12, 20}
    assert judged.isdisjoint(trained)


# ---------------------------------------------------------------------------------- kinds of files


def test_sixteen_bits(tmp_path: Path) -> None:
    """Beside eight, too: 257 times a value of 8 bits is the same grey."""
    scene = places(16, 16)
    deep = scene.astype(np.uint16) * 257
    deep[..., 2] = np.arange(256, dtype=np.uint16).reshape(16, 16)  # below what 8 bits tell apart
    domains = save(tmp_path / "a", {"0.png": deep}), save(tmp_path / "b", {"0.png": scene})
    data = DataSet(Paired(Preparation(size=8, preprocess="crop"), domains=domains), 0)
    values = set()
    for at in range(20):
        x, y = (data[at].batch[key][0] for key in "xy")
        assert torch.allclose(x[:2], y[:2], rtol=0, atol=2e-7)
        values |= set(((x[2] + 1) * 32767.5).round().int().flatten().tolist())
    assert 200 < len(values) <= 256
    assert values <= set(range(256))


def test_channels_are_converted(tmp_path: Path) -> None:
    """Colour to grey (Rec. 601), alpha on white; grey to colour and opaque."""
    colour, grey = places(16, 16), places(16, 16)[..., :1]
    seen = np.dstack([colour, np.where(grey < 128, 0, 255).astype(np.uint8)])
    weighed = colour.astype(float) @ [0.299, 0.587, 0.114]
    folders = {"colour": colour, "grey": grey, "seen": seen}
    for name, image in folders.items():
        save(tmp_path / name, {"0.png": image})

    def pair(a: str, b: str, channels: Any) -> tuple[np.ndarray, np.ndarray]:
        domains = str(tmp_path / a), str(tmp_path / b)
        layout = Paired(still(), domains=domains, names=("x", "y"), channels=channels)
        assert layout.channels == dict(zip("xy", channels, strict=True))
        return rows(layout, 1, 1)[0]

    x, y = pair("colour", "grey", (1, 4))
    assert x.shape == (16, 16, 1)
    assert np.abs(x[..., 0] - weighed).max() <= 0.51
    np.testing.assert_array_equal(y, np.dstack([grey, grey, grey, np.full_like(grey, 255)]))
    x, y = pair("seen", "colour", (3, 1))
    np.testing.assert_array_equal(x, np.where(seen[..., 3:] == 0, 255, colour))
    assert y.shape == (16, 16, 1)
    x, _ = pair("seen", "seen", (4, 3))
    np.testing.assert_array_equal(x, seen)


def turned(image: np.ndarray, orientation: int) -> bytes:
    """A PNG file whose EXIF data say how to turn it."""
    data = encode(image, ".png")
    exif = (
        b"II" + struct.pack("<HIH", 42, 8, 1) + struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0)
    )
    body = b"eXIf" + exif + bytes(4)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]  # after the header


def test_a_partner_turned_by_its_exif_data(tmp_path: Path) -> None:
    """Upright, it is of one size with the other, though it is stored as 16 x 12."""
    scene = places(16, 12)
    write(tmp_path / "a" / "0.png", scene)
    write(tmp_path / "b" / "0.png", scene)
    stored = np.rot90(swapped(scene))  # orientation 6: a quarter turn clockwise brings it upright
    (tmp_path / "b" / "0.png").write_bytes(turned(np.ascontiguousarray(stored), 6))
    prepare = Preparation(size=8, preprocess="crop")
    for x, y in rows(Paired(prepare, domains=(str(tmp_path / "a"), str(tmp_path / "b"))), 20, 1):
        np.testing.assert_array_equal(y, swapped(x))


def test_a_partner_that_exif_data_turn_to_another_size(domains: tuple[str, str]) -> None:
    """As stored, the two agree; it is skipped as broken, and the next pair shown in its place."""
    for folder in domains:
        write(Path(folder) / "b.png", places(16, 12, 1))
    path = Path(domains[1]) / "b.png"
    path.write_bytes(turned(places(16, 12, 1), 6))
    data = DataSet(Paired(Preparation(size=8, preprocess="crop"), domains=domains), 0)
    items = [data[at] for at in range(3)]
    assert sorted(to_image(item.batch["x"][0])[0, 0, 2] for item in items) == [4, 20, 20]
    (reason,) = (reason for item in items for reason in item.broken.values())
    assert reason == f"{domains[0]}/b.png is 12 x 16 but {path} is 16 x 12"
    assert len(data.held_out_batch(9)["x"]) == 2


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("length", [0, 7, 20, 40, -5])
def test_a_broken_file_of_a_pair(domains: tuple[str, str], side: int, length: int) -> None:
    """Empty, cut in its header or later: told when its turn comes, not a mistake of the folder."""
    path = Path(domains[side]) / "b.png"
    path.write_bytes(path.read_bytes()[:length])
    data = DataSet(Paired(still(), domains=domains), 0, batch_size=3)
    batch, broken = data[0].batch, data[0].broken
    assert sorted(to_image(x)[0, 0, 2] for x in batch["x"]) == [4, 20, 20]
    assert len(broken) == 1
    assert next(iter(broken.values())).startswith(f"{path}: ")
    assert data.count_broken(broken) == {"labels and photos": (1, 3)}


# ---------------------------------------------------------------------------------------- mistakes


def refused(*says: str, error: type[ValueError] = UserError, **arguments: Any) -> None:
    with pytest.raises(error) as told:
        Paired(still(), **arguments)
    for words in says:
        assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_sizes_that_differ(domains: tuple[str, str]) -> None:
    write(Path(domains[1]) / "b.png", places(8, 12))
    refused(
        "1 of 3 pairs differ in size",
        f"{domains[0]}/b.png is 16 x 16 but {domains[1]}/b.png is 12 x 8",
        "Bring the two pictures of a pair to one size",
        domains=domains,
    )
    refused("1 of 3 pairs", domains=(domains[0], domains[0]), names=("a", "b"), validation=domains)


def test_many_sizes_that_differ(tmp_path: Path) -> None:
    folders = tuple(
        save(tmp_path / name, {f"{n}.png": places(*size) for n in range(5)})
        for name, size in (("a", (4, 8)), ("b", (4, 4)))
    )
    refused("5 of 5 pairs", "a/0.png", "b/2.png is 4 x 4 and 2 more", domains=folders)


def test_pictures_without_a_partner(domains: tuple[str, str]) -> None:
    write(Path(domains[0]) / "only.png", places(16, 16))
    (Path(domains[1]) / "c.png").rename(Path(domains[1]) / "d.png")
    refused(
        f"2 only in {domains[0]} ({domains[0]}/c.png, {domains[0]}/only.png)",
        f"1 only in {domains[1]} ({domains[1]}/d.png)",
        domains=domains,
    )


def test_two_pictures_of_one_name(domains: tuple[str, str]) -> None:
    write(Path(domains[1]) / "b.jpg", places(16, 16))
    refused(f"{domains[1]}/b.jpg and {domains[1]}/b.png have one name", domains=domains)


def test_pairs_come_from_one_place(domains: tuple[str, str]) -> None:
    folder = domains[0]
    refused("give the pairs: --domains labels photos", "--aligned DIR")
    refused("give the pairs", domains=domains, aligned=folder)
    refused("makes pairs of one folder's pictures", domains=domains, images=folder, derive="fill")
    refused("makes pairs of one folder's pictures", domains=domains, derive="fill")
    refused("makes pairs of one folder's pictures", derive="fill")
    refused("say what is to be learned", images=folder)
    refused("direction = 'right-to-left' is for", domains=domains, direction="right-to-left")
    refused("channels of its own", images=folder, derive="fill", channels=(1, 3))
    refused("names must differ", aligned=folder, names=("a", "a"), error=ValueError)
    refused("there is no folder", aligned=f"{folder}/missing")


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_validation_is_given_as_the_training_pictures_are(
    domains: tuple[str, str], count: int
) -> None:
    """Folders that fit together or not: the number is what is wrong."""
    validation = (*domains, *domains)[:count]
    for arguments, wanted in (({"domains": domains}, 2), ({"aligned": domains[0]}, 1)):
        if count in (0, wanted):
            layout = Paired(still(), validation=validation, **arguments)
            assert len(layout.held_out) == (count > 0)
        else:
            says = "validation must name as many folders as there are to train on"
            refused(says, validation=validation, error=ValueError, **arguments)


# ------------------------------------------------------------------------------------------- names


def test_names(domains: tuple[str, str]) -> None:
    folder = domains[0]
    two = Paired(still(), domains=domains)
    assert (two.names, two.title) == ({"x": "labels", "y": "photos"}, ("labels", "photos"))
    named = Paired(still(), domains=domains, names=("in", "out"))
    assert (named.names, named.title) == ({"x": "in", "y": "out"}, ("in", "out"))
    halves = Paired(still(), aligned=folder)
    assert (halves.names, halves.title) == ({"x": "left", "y": "right"}, ("labels",))
    back = Paired(still(), aligned=folder, direction="right-to-left")
    assert back.names == {"x": "right", "y": "left"}
    assert Paired(still(), aligned=folder, names=("a", "b")).names == {"x": "a", "y": "b"}
    filled = Paired(still(), images=folder, derive="fill")
    assert (filled.names, filled.title) == ({"x": "holes", "y": "whole"}, ("labels",))


def test_the_reference_layouts_folder_gives_the_title(tmp_path: Path) -> None:
    folder = save(tmp_path / "facades" / "train", {"0.png": places(16, 32)})
    assert Paired(still(), aligned=folder).title == ("facades",)
    assert Paired(still(), images=folder, derive="colour").title == ("facades",)


def test_what_a_model_file_says(domains: tuple[str, str]) -> None:
    translation = {"G": ("x", "y")}
    two = Paired(still(), domains=domains, channels=(1, 3))
    assert two.header(translation) == {
        "translations": [{"network": "G", "from": "labels", "to": "photos"}],
        "channels": {"labels": 1, "photos": 3},
    }
    derived = Paired(still(), images=domains[0], derive="colour")
    assert derived.header(translation) == {
        "translations": [{"network": "G", "from": "grey", "to": "colour"}],
        "channels": {"grey": 1, "colour": 2},
        "derived": "colour",
    }


# ------------------------------------------------------------------------------------------ halves


def aligned(
    tmp_path: Path, width: int, prepare: Preparation | None = None, **arguments: Any
) -> Paired:
    """One picture, 16 high, whose pixels hold row and column, ``width`` columns in all."""
    wide = np.zeros((16, width, 3), np.uint8)
    wide[..., 0], wide[..., 1] = np.arange(16)[:, None] * 16 + 8, np.arange(width)
    folder = save(tmp_path / "aligned", {"0.png": wide})
    return Paired(prepare or Preparation(size=16, flip=False), aligned=folder, **arguments)


@pytest.mark.parametrize(("width", "right"), [(32, 16), (33, 17)])
@pytest.mark.parametrize("direction", ["left-to-right", "right-to-left"])
def test_halves(tmp_path: Path, width: int, right: int, direction: Any) -> None:
    """The column in the middle of an odd number is nobody's."""
    prepare = Preparation(size=16, load_ratio=1.0, flip=False)
    x, y = rows(aligned(tmp_path, width, prepare, direction=direction), 1, 1)[0]
    starts = (0, right) if direction == "left-to-right" else (right, 0)
    for half, start in zip((x, y), starts, strict=True):
        assert (half[..., 1] == np.arange(start, start + 16)).all()
        assert (half[..., 0] == np.arange(16)[:, None] * 16 + 8).all()


def test_geometry_of_halves_is_one(tmp_path: Path) -> None:
    augment = ({"transform": "VerticalFlip", "p": 0.5}, {"transform": "RandomRotate90", "p": 0.5})
    prepare = Preparation(size=8, preprocess="crop", augment=augment)
    shown = rows(aligned(tmp_path, 32, prepare), 40, 1)
    for x, y in shown:
        np.testing.assert_array_equal(x + np.uint8([0, 16, 0]), y)
    assert len({x.tobytes() for x, _ in shown}) > 30


def test_one_pixel_has_no_halves(tmp_path: Path) -> None:
    data = DataSet(aligned(tmp_path, 32), 0)
    write(tmp_path / "aligned" / "0.png", places(16, 1))
    item = data[0]
    assert item.batch == {}
    path = str(tmp_path / "aligned" / "0.png")
    assert item.broken == {path: f"{path}: 1 pixel wide, which has no halves"}
    write(tmp_path / "aligned" / "0.png", places(16, 2))
    assert data[0].batch["x"].shape == (1, 3, 16, 16)


def test_a_validation_folder_of_halves(tmp_path: Path) -> None:
    judges = save(tmp_path / "v", {"0.png": np.full((16, 32, 3), 9, np.uint8)})
    data = DataSet(aligned(tmp_path, 32, validation=(judges,)), 0, validation_share=0.9)
    assert data.judges
    assert (to_image(data.held_out_batch(3)["y"][0]) == 9).all()
    assert data.batches_per_epoch() == 1


# ----------------------------------------------------------------------------------------- derived


def test_derived_pairs(tmp_path: Path, draw: Callable[..., Path]) -> None:
    """Channels are their own, whatever ``channels`` says; what was made becomes a picture again."""
    folder = str(draw(tmp_path / "a", 3, size=16))
    for derive, channels in (("colour", (1, 2)), ("fill", (4, 3))):
        layout = Paired(still(), images=folder, derive=derive)
        values = {"derive": derive, "channels": (3, 3)}
        assert (
            layout.channels == Paired.channels_of(values) == dict(zip("xy", channels, strict=True))
        )
        batch = DataSet(layout, 0, batch_size=3)[0].batch
        assert {k: v.shape[1] for k, v in batch.items()} == layout.channels
        shown = layout.picture("y", batch["y"], batch)
        assert shown.shape == (3, 3, 16, 16)
        originals = {p.read_bytes() for p in Path(folder).iterdir()}
        assert {encode(to_image(image), ".png") for image in shown} == originals
        assert torch.equal(layout.picture("x", batch["x"], batch), batch["x"])


@pytest.mark.parametrize("derive", ["colour", "fill"])
@pytest.mark.parametrize("channels", [1, 4])
def test_derived_from_grey_and_from_alpha(
    tmp_path: Path, draw: Callable[..., Path], derive: Any, channels: int
) -> None:
    """Alpha lies on white before anything else: hidden colours do not bleed, and jitter goes on."""
    image = np.full((32, 32, channels), 200, np.uint8)
    if channels == 4:
        image[1::2], image[1::2, :, 3], image[::2, :, 3] = 0, 0, 255  # hidden black
    folder = save(tmp_path / "a", {"0.png": image})
    expected = 200 if channels == 1 else (200 + 255) / 2
    batch = DataSet(Paired(still(), images=folder, derive=derive), 0).held_out_batch(1)
    whole = Paired(still(), images=folder, derive=derive).picture("y", batch["y"], batch)
    assert whole.shape == (1, 3, 16, 16)
    assert np.abs(to_image(whole[0]) - expected).max() <= 1
    augment = ({"transform": "ColorJitter", "p": 1.0}, {"transform": "ToSepia", "p": 1.0})
    jittered = Preparation(size=16, load_ratio=1.0, augment=augment)
    data = DataSet(Paired(jittered, images=folder, derive=derive), 0)
    assert not torch.equal(data[0].batch["y"], batch["y"])


def test_holes_are_drawn_anew_in_each_epoch_but_not_to_judge_by(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    data = DataSet(Paired(still(), images=str(draw(tmp_path / "a", 1)), derive="fill"), 0)
    holes = {data[at].batch["x"][0, 3].numpy().tobytes() for at in range(8)}
    assert len(holes) == 8
    known = data.held_out_batch(1)["x"][0, 3]
    expected = torch.ones(16, 16)
    expected[4:12, 4:12] = -1
    assert torch.equal(known, expected)


# ----------------------------------------------------------------------------------------- figures


def flat(value: float) -> Tensor:
    return torch.full((2, 3, 16, 16), float(value))


def test_figures_of_pairs() -> None:
    """Of flat ones, black being 0 and white 1: |a - b|, (2ab + 0.01^2) / (a^2 + b^2 + 0.01^2)."""
    l1, ssim = (Paired.figures[name] for name in ("l1", "ssim"))
    noise = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert l1(flat(-1), flat(1)) == 1
    assert l1(flat(0.5), flat(0)) == 0.25
    assert l1(noise, noise) == 0
    assert ssim(noise, noise) == pytest.approx(1, abs=1e-6)
    assert ssim(flat(0.5), flat(-0.5)) == pytest.approx(
        0.3751 / 0.6251, abs=3e-4
    )  # float32 beside 0.03^2
    assert -1 <= ssim(noise, -noise) < -0.5
    assert Paired.figures.keys() == {"swd", "l1", "ssim"}
