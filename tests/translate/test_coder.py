"""Real pictures through an encoder: reconstructions, edits, and where their files go."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import near, save_tiny

from gan_core.checkpoint import load_model, save_model
from translate.codes import Coder
from translate.data.image import read, resize, write
from translate.networks import rebuild

Command = Callable[..., Any]
Mistake = Callable[..., str]
Contents = Callable[[Path], dict[str, bytes]]
Models = Callable[..., Path]

CPU = torch.device("cpu")
ON_CPU = ("--device", "cpu", "--precision", "fp32")
ENCODERS = ["ebgan", "began", "ogan", "ogan mapping", "ogan matrix"]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("codes")


@pytest.fixture(scope="module")
def folder(shelf: Path, draw: Callable[..., Path]) -> Path:
    """Four pictures, one of them in a sub-folder, of other sizes, channels and formats."""
    made = draw(shelf / "pictures", 2)
    draw(made / "grey", 1, size=31, channels=1, suffix=".pgm")
    draw(made / "clear", 1, size=16, channels=4)
    return made


@pytest.fixture(scope="module")
def models(shelf: Path, folder: Path) -> Models:
    def saved(system: str = "ogan", **keys: object) -> Path:
        path = shelf / f"{'-'.join([system, *map(str, keys.values())])}.safetensors"
        if not path.exists():
            save_tiny(path, system, folder, **keys)
        return path

    return saved


def by_hand(model: Path, seen: torch.Tensor) -> tuple[torch.Tensor, Callable[..., torch.Tensor]]:
    """Codes of [B, C, H, W], and what decodes them, from the file's networks by the papers."""
    tensors, header = load_model(model)
    nets = {}
    for name, described in header["networks"].items():
        nets[name] = rebuild(described).eval().requires_grad_(False)
        own = {
            k.removeprefix(f"{name}."): t for k, t in tensors.items() if k.startswith(f"{name}.")
        }
        nets[name].load_state_dict(own)
    if "D" in nets:
        return nets["D"].encode(seen), nets["D"].decode
    code = nets["E"](seen)
    if header["recipe"]["method"]["code"] == "matrix":
        return nets["W"](code), nets["G"]
    centred = code - code.mean(1, keepdim=True)
    return centred / centred.square().mean(1, keepdim=True).sqrt(), nets["G"]


def tensor_of(path: Path, channels: int = 3, size: int = 16) -> torch.Tensor:
    """[1, C, size, size] of an opaque picture of as many channels."""
    image = resize(read(path), size, size)
    assert image.shape[2] == channels
    return torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32)) / 127.5 - 1


def shown(made: torch.Tensor) -> np.ndarray:
    return np.rint((made[0].permute(1, 2, 0).clamp(-1, 1).numpy() + 1) * 127.5)


def cells(path: Path) -> list[list[np.ndarray]]:
    """The pictures of 16 x 16 in a sheet, row by row."""
    sheet = read(path)
    tops, lefts = (range(0, side, 18) for side in sheet.shape[:2])
    return [[sheet[y : y + 16, x : x + 16] for x in lefts] for y in tops]


# --------------------------------------------------------------------------------- reconstructions


@pytest.mark.parametrize("system", ENCODERS)
def test_a_reconstruction_is_the_decoded_code(
    models: Models, folder: Path, command: Command, tmp_path: Path, system: str
) -> None:
    """And its error the mean distance to what was encoded, black to white being 1."""
    source = folder / "00.png"
    seen = tensor_of(source)
    # BEGAN's and EBGAN's codes have no length of their own; the others' are what G was fed.
    model = models(system, data__load_ratio=1.0)
    code, decode = by_hand(model, seen)
    out = tmp_path / "made"
    outcome = command("reconstruct", model, source, "--out", out, *ON_CPU)
    assert (outcome.code, outcome.err) == (0, "")
    image = read(out / "00.png")
    assert near(image, shown(decode(code)))
    error = np.abs(image / 127.5 - 1 - seen[0].permute(1, 2, 0).numpy()).mean() / 2
    said = re.fullmatch(r"1 reconstructed with a mean error of (\d\.\d{4})\n", outcome.out)
    assert said
    assert float(said[1]) == pytest.approx(error, abs=1e-3)
    assert 0.05 < error < 0.7


def test_the_error_is_that_of_what_is_shown(
    models: Models, folder: Path, command: Command, tmp_path: Path
) -> None:
    """BEGAN's decoder has no bounds: what is beyond white is white."""
    tensors, header = load_model(models("began"))
    (last,) = (n for n, t in tensors.items() if n.startswith("D.decode.") and t.shape == (3,))
    tensors[last] += 5
    save_model(tmp_path / "white", tensors, header)
    seen = Coder(models("began"), CPU, "fp32").seen(read(folder / "00.png"))
    words = (tmp_path / "white", folder / "00.png", "--out", tmp_path / "made", *ON_CPU)
    said = command("reconstruct", *words).out
    assert (read(tmp_path / "made" / "00.png") == 255).all()
    assert float(said.split()[-1]) == pytest.approx((1 - seen).mean().item() / 2, abs=1e-4)


def test_the_error_is_the_mean_over_pictures(
    models: Models, folder: Path, command: Command, tmp_path: Path
) -> None:
    def error_of(source: Path) -> float:
        out = tmp_path / f"made-{len(list(tmp_path.iterdir()))}"
        said = command("reconstruct", models(), source, "--out", out, *ON_CPU).out
        return float(said.split()[-1])

    alone = [error_of(path) for path in sorted(folder.rglob("*.*"))]
    assert len(set(alone)) == len(alone) == 4
    assert error_of(folder) == pytest.approx(np.mean(alone), abs=1e-4)


def test_pictures_are_seen_as_training_judged_them(models: Models, folder: Path) -> None:
    """Resized to 1.25 x 16, then the middle of that; never mirrored."""
    coder = Coder(models("ogan", data__load_ratio=1.25, data__flip=True), CPU, "fp32")
    image = read(folder / "00.png")
    assert image.shape == (20, 20, 3)
    for _ in range(4):
        seen = coder.seen(image)
        np.testing.assert_allclose(seen, tensor_of(folder / "00.png", size=20)[:, :, 2:18, 2:18])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_of_any_kind_come_to_the_models_channels(
    models: Models,
    folder: Path,
    command: Command,
    contents: Contents,
    tmp_path: Path,
    channels: int,
) -> None:
    """Same names and sub-folders, all as PNG of the model's size."""
    model = models("began", data__channels=channels)
    out = tmp_path / "made"
    outcome = command("reconstruct", model, folder, "--out", out, *ON_CPU)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("4 reconstructed with a mean error of 0.")
    names = ["00.png", "01.png", "clear/00.png", "grey/00.png"]
    assert sorted(contents(out)) == names
    assert {read(out / name).shape for name in names} == {(16, 16, channels)}
    assert len(set(contents(out).values())) == 4


def test_a_sheet_shows_pictures_beside_what_is_made_of_them(
    models: Models, folder: Path, command: Command, tmp_path: Path
) -> None:
    sheet, made = tmp_path / "new" / "sheet.png", tmp_path / "made"
    outcomes = [
        command("reconstruct", models(), folder, "--out", out, *ON_CPU) for out in (sheet, made)
    ]
    assert outcomes[0] == outcomes[1]
    rows = cells(sheet)
    coder = Coder(models(), CPU, "fp32")
    for row, path in zip(rows, sorted(folder.rglob("*.*"), key=str), strict=True):
        name = path.relative_to(folder).with_suffix(".png")
        assert len(row) == 2
        assert near(row[0], shown(coder.seen(read(path))))
        np.testing.assert_array_equal(row[1], read(made / name))


def test_broken_pictures_are_listed_and_the_others_made(
    models: Models, folder: Path, command: Command, tmp_path: Path
) -> None:
    source = shutil.copytree(folder, tmp_path / "source")
    broken = source / "grey" / "cut.png"
    broken.write_bytes((folder / "00.png").read_bytes()[:50])
    for name in ("made", "sheets/sheet.png"):
        out = tmp_path / name
        outcome = command("reconstruct", models(), source, "--out", out, *ON_CPU)
        listed = (out.parent if out.suffix else out) / "failures.jsonl"
        assert outcome.code == 1
        assert re.fullmatch(
            rf"4 reconstructed with .* 0\.\d+, 1 failed: see {re.escape(str(listed))}\n",
            outcome.out,
        )
        assert json.loads(listed.read_text())["file"] == str(broken)
    assert not (tmp_path / "made" / "grey" / "cut.png").exists()
    assert len(cells(tmp_path / "sheets" / "sheet.png")) == 4
    alone = command("reconstruct", models(), broken, "--out", tmp_path / "one.png", *ON_CPU)
    assert alone.code == 1
    assert alone.out.startswith("0 reconstructed, 1 failed: see ")
    assert not (tmp_path / "one.png").exists()


def test_a_second_call_makes_what_is_missing(
    models: Models, folder: Path, command: Command, contents: Contents, tmp_path: Path
) -> None:
    words = ("reconstruct", models(), folder, "--out", tmp_path / "made", *ON_CPU)
    assert command(*words).code == 0
    whole = contents(tmp_path / "made")
    (tmp_path / "made" / "01.png").unlink()
    (tmp_path / "made" / "00.png").write_bytes(b"mine")
    outcome = command(*words)
    assert outcome.code == 0
    assert outcome.out.startswith("1 reconstructed with")
    assert "3 were there already" in outcome.out
    assert contents(tmp_path / "made") == whole | {"00.png": b"mine"}
    assert command(*words, "--overwrite").out.startswith("4 reconstructed with")
    assert contents(tmp_path / "made") == whole


# ------------------------------------------------------------------------------------------- edits


@pytest.mark.parametrize("system", ENCODERS)
def test_an_edit_is_arithmetic_on_codes(
    models: Models, folder: Path, command: Command, tmp_path: Path, system: str
) -> None:
    """code + S (mean code of plus - that of minus); the picture first, then by strength."""
    model = models(system, data__load_ratio=1.0)
    source, plus = folder / "00.png", folder / "grey"
    out = tmp_path / "sheet.png"
    outcome = command(
        *("edit", model, source, "--plus", plus, "--minus", folder, "--out", out, *ON_CPU),
        *("--strength", 0, "--strength", 1.5, "--strength", -2),
    )
    assert outcome == (0, "1 edited\n", "")
    ((seen, *made),) = cells(out)
    assert near(seen, shown(tensor_of(source)))
    coder = Coder(model, CPU, "fp32")
    paths = sorted(folder.rglob("*.*"))
    codes = {path: by_hand(model, coder.seen(read(path)))[0] for path in paths}
    code, decode = by_hand(model, tensor_of(source))
    (added,) = (codes[path] for path in paths if path.parent == plus)
    direction = added - sum(codes.values()) / 4
    for image, strength in zip(made, (0, 1.5, -2), strict=True):
        assert near(image, shown(decode(code + strength * direction)))
    assert not near(made[0], made[1])


def test_an_edit_of_a_folder_has_its_names(
    models: Models, folder: Path, command: Command, contents: Contents, tmp_path: Path
) -> None:
    """By a strength of 1 unless another is given; plus may be a picture."""
    words = ("edit", models(), folder, "--plus", folder / "00.png", "--minus", folder, *ON_CPU)
    for name, strength in {
        "one": (),
        "other": ("--strength", 1),
        "half": ("--strength", 0.5),
    }.items():
        outcome = command(*words, "--out", tmp_path / name, *strength)
        assert outcome == (0, "4 edited\n", "")
    found = contents(tmp_path / "one")
    assert sorted(found) == ["00.png", "01.png", "clear/00.png", "grey/00.png"]
    assert contents(tmp_path / "other") == found
    assert not set(contents(tmp_path / "half").values()) & set(found.values())
    sheet = tmp_path / "sheet.png"
    assert command(*words, "--out", sheet).code == 0
    assert len(cells(sheet)) == 4
    for (_, made), name in zip(cells(sheet), sorted(found), strict=True):
        np.testing.assert_array_equal(made, read(tmp_path / "one" / name))


def test_no_difference_changes_nothing(
    models: Models, folder: Path, command: Command, contents: Contents, tmp_path: Path
) -> None:
    words = ("--plus", folder, "--minus", folder, "--strength", 5, "--out", tmp_path / "edited")
    assert command("edit", models(), folder, *words, *ON_CPU).code == 0
    assert command("reconstruct", models(), folder, "--out", tmp_path / "made", *ON_CPU).code == 0
    assert contents(tmp_path / "edited") == contents(tmp_path / "made")


def test_broken_pictures_of_a_mean_are_listed(
    models: Models, folder: Path, command: Command, mistake: Mistake, tmp_path: Path
) -> None:
    """The mean is of the others; of none there is none."""
    plus, bad = tmp_path / "plus", tmp_path / "bad"
    for made in (plus, bad):
        made.mkdir()
        (made / "cut.png").write_bytes(b"no picture")
    shutil.copy(folder / "01.png", plus)
    words = ("edit", models(), folder / "00.png", "--minus", folder / "00.png", *ON_CPU)
    outcome = command(*words, "--plus", plus, "--out", tmp_path / "a")
    listed = tmp_path / "a" / "failures.jsonl"
    assert (outcome.code, outcome.out) == (1, f"1 edited, 1 failed: see {listed}\n")
    assert json.loads(listed.read_text())["file"] == str(plus / "cut.png")
    assert command(*words, "--plus", folder / "01.png", "--out", tmp_path / "b").code == 0
    assert (tmp_path / "a" / "00.png").read_bytes() == (tmp_path / "b" / "00.png").read_bytes()
    says = (f"none of the pictures in {bad} can be read",)
    mistake(*words, "--plus", bad, "--out", tmp_path / "c.png", says=says)
    assert not (tmp_path / "c.png").exists()


# ---------------------------------------------------------------------------------------- mistakes


def test_models_without_an_encoder(
    models: Models, folder: Path, model: Path, mistake: Mistake, tmp_path: Path
) -> None:
    says = "which has no encoder: take a model of ebgan, began, ogan"
    out = ("--out", tmp_path / "made")
    for path, name in ((models("gan"), "gan"), (model, "cyclegan")):
        whole = (f"{path} is a {name} model, {says}",)
        mistake("reconstruct", path, folder, *out, says=whole)
        mistake("edit", path, folder, "--plus", folder, "--minus", folder, *out, says=whole)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["reconstruct", "edit"])
def test_what_is_there_already_is_left_alone(
    models: Models, folder: Path, command: Command, mistake: Mistake, tmp_path: Path, name: str
) -> None:
    sets = ("--plus", folder, "--minus", folder) if name == "edit" else ()
    out = tmp_path / "sheet.png"
    out.write_bytes(b"mine")
    words = (name, models(), folder, *sets, "--out", out, *ON_CPU)
    mistake(*words, says=(f"{out} is there already", "--overwrite"))
    assert out.read_bytes() == b"mine"
    assert command(*words, "--overwrite").code == 0
    assert len(cells(out)) == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("none", "--out", "made"), ("there is no file or folder none",)),
        (("none", "--out", "a.png"), ("there is no folder none",)),
        (("notes.txt", "--out", "a.png"), ("notes.txt is no picture: its suffix is none of",)),
        (("empty", "--out", "made"), ("empty holds no pictures",)),
        (("twice", "--out", "a.gif"), ("a.gif: a file is written as .png",)),
        (("twice", "--out", "twice/made"), ("twice/made lies in twice",)),
        (("twice", "--out", "made"), ("would both become a.png: rename one",)),
        (("twice/a.png", "--out", "a.pgm"), (".pgm pictures are grey",)),
    ],
)
def test_words_that_mean_nothing(
    models: Models,
    mistake: Mistake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    says: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("notes")
    Path("empty").mkdir()
    for name in ("a.png", "a.bmp"):
        write(Path("twice") / name, np.zeros((16, 16, 3), np.uint8))
    before = sorted(tmp_path.rglob("*"))
    mistake("reconstruct", models(), *words, *ON_CPU, says=says)
    assert sorted(tmp_path.rglob("*")) == before


def test_several_strengths_need_a_sheet(
    models: Models, folder: Path, mistake: Mistake, tmp_path: Path
) -> None:
    words = ("--plus", folder, "--minus", folder, "--strength", 1, "--strength", 2)
    says = ("several strengths make a sheet", "picture file")
    mistake("edit", models(), folder, *words, "--out", tmp_path / "made", says=says)
    assert not (tmp_path / "made").exists()
