"""Pictures drawn by class: which, how many, where they go, and what they depend on."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan_core.checkpoint import load_model, save_model
from translate.data.image import read, write
from translate.errors import UserError
from translate.sampler import Sampler

Command = Callable[..., Any]
Mistake = Callable[..., str]
Contents = Callable[[Path], dict[str, bytes]]
Drawn = Callable[..., dict[str, bytes]]

CLASSES = ["cats", "dogs", "wild cows"]
ON_CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classes")


@pytest.fixture
def trained(shelf: Path, draw: Callable[..., Path], command: Command) -> Callable[..., Path]:
    """A cgan of two steps at 16 pixels, of three classes."""

    def train(condition: str = "concat", channels: int = 3) -> Path:
        run = shelf / f"{condition}-{channels}"
        if not run.exists():
            for number, name in enumerate(CLASSES):
                draw(shelf / "pictures" / name, number + 2)
            keys = [
                *(f"method.condition={condition}", f"data.channels={channels}"),
                *("networks.generator.filters=4", "networks.generator.latent=8"),
                *("networks.generator.init_gain=0.3", "networks.discriminator.filters=4"),
            ]
            outcome = command(
                *("train", "cgan", "--images", shelf / "pictures", "--out", run, "--size", 16),
                *("--batch-size", 2, "--steps", 2, "--workers", 0, *ON_CPU),
                *(f"--set={key}" for key in keys),
            )
            assert outcome.code == 0
        return run

    return train


@pytest.fixture
def drawn(command: Command, contents: Contents, tmp_path: Path) -> Drawn:
    """``sample`` to a new folder, and all that it wrote."""

    def run(model: Path, *words: object) -> dict[str, bytes]:
        out = tmp_path / f"drawn-{len(list(tmp_path.iterdir()))}"
        outcome = command("sample", model, "--out", out, *words, *ON_CPU)
        assert (outcome.code, outcome.err) == (0, "")
        return contents(out)

    return run


# ------------------------------------------------------------------------------------ what is drawn


def test_a_folder_of_pictures(trained: Callable[..., Path], drawn: Drawn) -> None:
    """Eight of each class, all different, of the training pictures' size."""
    found = drawn(trained())
    numbers = [f"{number:05}.png" for number in range(8)]
    assert sorted(found) == sorted(f"{name}/{number}" for name in CLASSES for number in numbers)
    assert len(set(found.values())) == 24


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_grid_has_a_row_for_each_class(
    trained: Callable[..., Path],
    drawn: Drawn,
    command: Command,
    tmp_path: Path,
    channels: int,
) -> None:
    """White lines of two pixels between the pictures that a folder would hold."""
    words = ("--count", 5, "--seed", 3)
    grid = tmp_path / "new" / "grid.PNG"
    outcome = command("sample", trained(channels=channels), "--out", grid, *words, *ON_CPU)
    assert outcome == (0, f"15 pictures of 3 classes: {grid}\n", "")
    sheet = read(grid)
    assert sheet.shape == (3 * 16 + 2 * 2, 5 * 16 + 4 * 2, channels)
    assert sheet.dtype == np.uint8
    lines = np.ones(sheet.shape[:2], bool)
    for path, data in drawn(trained(channels=channels), *words).items():
        name, number = path.split("/")
        (tmp_path / "one.png").write_bytes(data)
        image = read(tmp_path / "one.png")
        assert image.shape == (16, 16, channels)
        top, left = CLASSES.index(name) * 18, int(number[:5]) * 18
        np.testing.assert_array_equal(sheet[top : top + 16, left : left + 16], image)
        lines[top : top + 16, left : left + 16] = False
    assert (sheet[lines] == 255).all()


def test_rows_are_in_the_order_of_the_labels_given(
    trained: Callable[..., Path], command: Command, tmp_path: Path
) -> None:
    asked = ("wild cows", "cats")
    words = [word for name in asked for word in ("--label", name)]
    for name, labels in {"all": [], "two": words}.items():
        out = tmp_path / f"{name}.png"
        assert command("sample", trained(), "--out", out, *labels, *ON_CPU).code == 0
    whole, two = read(tmp_path / "all.png"), read(tmp_path / "two.png")
    assert two.shape[0] == 34
    np.testing.assert_array_equal(two[:16], whole[36:])
    np.testing.assert_array_equal(two[18:], whole[:16])


# --------------------------------------------------------------------------- what it depends on


@pytest.mark.parametrize("condition", ["concat", "projection", "auxiliary"])
def test_a_picture_depends_on_seed_class_and_number_alone(
    trained: Callable[..., Path], drawn: Drawn, condition: str
) -> None:
    model = trained(condition)
    whole = drawn(model, "--count", 4, "--seed", 7)
    assert len(set(whole.values())) == 12
    for words in (
        ("--count", 1),
        ("--count", 3, "--label", "dogs"),
        ("--count", 2, "--label", "wild cows", "--label", "cats"),
    ):
        part = drawn(model, *words, "--seed", 7)
        assert part
        assert part.items() <= whole.items()
    assert len(drawn(model, "--count", 6, "--seed", 7).items() & whole.items()) == 12


def test_another_seed_draws_other_pictures(trained: Callable[..., Path], drawn: Drawn) -> None:
    """The first is the default; none is too large."""
    found = [drawn(trained(), "--seed", seed) for seed in (0, 1, 2**32, 2**70)]
    for name in found[0]:
        assert len({pictures[name] for pictures in found}) == 4
    assert drawn(trained()) == found[0]


def test_the_sampler_draws_what_the_command_does(
    trained: Callable[..., Path], drawn: Drawn, tmp_path: Path
) -> None:
    """Of the file alone, however it is named; a class at a time, as many as are asked for."""
    tensors, header = load_model(trained() / "model.safetensors")
    needed = {key: header[key] for key in ("classes", "networks")}
    save_model(tmp_path / "other name", tensors, needed)
    sampler = Sampler(tmp_path / "other name", torch.device("cpu"), "fp32")
    assert sampler.classes == CLASSES
    images = list(sampler.draw(sampler.label_of("wild cows"), 3, seed=5))
    again = list(sampler.draw(2, 3, seed=5))
    found = drawn(trained(), "--label", "wild cows", "--count", 3, "--seed", 5)
    for number, image in enumerate(images):
        assert image.shape == (16, 16, 3)
        assert image.std() > 5, "neither flat nor dead"
        np.testing.assert_array_equal(image, again[number])
        write(tmp_path / "image.png", image)
        assert (tmp_path / "image.png").read_bytes() == found[f"wild cows/{number:05}.png"]


def test_each_class_has_normal_noise_of_its_own(trained: Callable[..., Path]) -> None:
    class Seen(torch.nn.Module):
        def forward(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            self.drawn = [*getattr(self, "drawn", []), (z, label)]
            return z[:, :1, None, None].clamp(-1, 1)

    noise = {}
    for seed, label in ((0, 0), (0, 1), (1, 0)):
        sampler = Sampler(trained(), torch.device("cpu"), "fp32")
        sampler.net = Seen()
        assert len(list(sampler.draw(label, 500, seed))) == 500
        assert all(given.tolist() == [label] for _, given in sampler.net.drawn)
        noise[seed, label] = torch.cat([z for z, _ in sampler.net.drawn])
    for z in noise.values():  # five standard errors of 4000 draws
        assert z.shape == (500, 8)
        assert abs(z.mean()) < 0.08
        assert 0.94 < z.std() < 1.06
    assert len(torch.cat(list(noise.values())).unique(dim=0)) == 1500


def test_bf16_is_near_fp32(trained: Callable[..., Path]) -> None:
    exact, near = (
        next(Sampler(trained(), torch.device("cpu"), precision).draw(0, 1, seed=0))
        for precision in ("fp32", "bf16")
    )
    assert 0 < np.abs(exact.astype(int) - near).mean() < 2


# ---------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--label", "cat"), "the model knows no class 'cat'; did you mean 'cats'?"),
        (("--label", "cats", "--label", "cows"), "no class 'cows'; did you mean 'wild cows'?"),
        (("--label", "zzz"), "no class 'zzz'; choose cats, dogs, wild cows"),
        (("--device", "gpu"), "no device 'gpu'"),
        (("--precision", "half"), "precision 'half': choose auto, fp32, bf16, fp16"),
    ],
)
def test_options_that_mean_nothing(
    trained: Callable[..., Path],
    mistake: Mistake,
    tmp_path: Path,
    words: tuple[str, ...],
    says: str,
) -> None:
    mistake("sample", trained(), "--out", tmp_path / "out", *words, says=(says,))
    assert not (tmp_path / "out").exists()


def test_grids_that_cannot_be_written(
    trained: Callable[..., Path], mistake: Mistake, command: Command, tmp_path: Path
) -> None:
    """Colour in a grey format; grey fits. And a file where a folder is needed."""
    words = ("--count", 1, *ON_CPU)
    out = tmp_path / "grid.pgm"
    mistake("sample", trained(), "--out", out, *words, says=(".pgm pictures are grey", ".ppm"))
    assert not out.exists()
    assert command("sample", trained(channels=1), "--out", out, *words).code == 0
    below = (f"could not write {out}", "Not a directory")
    mistake("sample", trained(), "--out", out / "x", *words, says=below)


@pytest.mark.parametrize(("option", "value"), [("--count", 0), ("--seed", -1)])
def test_numbers_that_mean_nothing(
    trained: Callable[..., Path], command: Command, option: str, value: int
) -> None:
    outcome = command("sample", trained(), "--out", "x", option, value)
    assert outcome.code == 2
    assert option in outcome.err
    assert "Traceback" not in outcome.err


def test_each_model_is_for_its_command(
    trained: Callable[..., Path], model: Path, mistake: Mistake, tmp_path: Path
) -> None:
    write(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    says = (f"{model} is a cyclegan model, which draws nothing from noise", "translate convert")
    mistake("sample", model, "--out", tmp_path / "out.png", says=says)
    says = (f"{trained()} is a cgan model, which translates no pictures", "translate sample")
    for words in ((), ("--to", "cats"), ("--stochastic",)):
        mistake("convert", trained(), tmp_path / "a.png", tmp_path / "out.png", *words, says=says)
    assert not (tmp_path / "out.png").exists()


def changed(model: Path, path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    tensors, header = load_model(model / "model.safetensors")
    change(header)
    save_model(path, tensors, header)
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda header: header.pop("networks"), "'networks'"),
        (lambda header: header.update(networks={}), "not enough values"),
        (lambda header: header["networks"].update(H={}), "too many values"),
        (lambda header: header["networks"]["G"].pop("kind"), "'kind'"),
        (lambda header: header["networks"]["G"].update(kind="vae"), "'vae' is not known here"),
        (lambda header: header["networks"]["G"].pop("arguments"), "'arguments'"),
        (lambda header: header["networks"]["G"]["arguments"].pop("latent"), "'latent'"),
        (lambda header: header["networks"]["G"]["arguments"].update(latent=9), "state_dict"),
        (lambda header: header["networks"]["G"]["arguments"].pop("classes"), "'classes'"),
        (lambda header: header["classes"].append("more"), "4 classes are named"),
        (lambda header: header["classes"].pop(), "2 classes are named, the network knows 3"),
        (lambda header: header.update(classes=None), "not iterable"),
        (lambda header: header.update(classes=[1, 2, 3]), "int"),
    ],
)
def test_headers_that_say_too_little_or_something_else(
    trained: Callable[..., Path],
    mistake: Mistake,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object],
    says: str,
) -> None:
    path = changed(trained(), tmp_path / "changed.safetensors", change)
    whole = (f"{path} holds a model that cannot be built here: ", says)
    mistake("sample", path, "--out", tmp_path / "out", says=whole)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../up", "..", ".", "", ".hidden", "a/b", "/a", "a/"])
def test_no_model_writes_outside_of_the_folder(
    trained: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """A model file may be a stranger's."""

    def rename(header: dict[str, Any]) -> None:
        header["classes"][1] = name

    path = changed(trained(), tmp_path / "changed.safetensors", rename)
    with pytest.raises(UserError, match=re.escape(f"class {name!r} is no folder's name")):
        Sampler(path, torch.device("cpu"))


def test_files_that_are_no_models(
    trained: Callable[..., Path], mistake: Mistake, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((trained() / "model.safetensors").read_bytes()[:-100])
    for path, says in (
        (cut, "is not a readable model file"),
        (tmp_path, "has no model.safetensors yet"),
        (tmp_path / "missing", "does not exist"),
    ):
        mistake("sample", path, "--out", "x.png", says=(str(path), says))


def test_what_is_there_already_is_left_alone(
    trained: Callable[..., Path], command: Command, mistake: Mistake, tmp_path: Path
) -> None:
    grid, folder = tmp_path / "precious.png", tmp_path / "classes"
    folder.mkdir()
    for path in (grid, folder / "mine.png"):
        path.write_bytes(b"mine")
    for out in (grid, folder):
        mistake("sample", trained(), "--out", out, *ON_CPU, says=(f"{out} is there already",))
    assert grid.read_bytes() == b"mine"
    assert [path.name for path in folder.iterdir()] == ["mine.png"]
    assert command("sample", trained(), "--out", grid, "--overwrite", *ON_CPU).code == 0
    assert grid.read_bytes() != b"mine"
    gif = tmp_path / "grid.gif"
    mistake("sample", trained(), "--out", gif, *ON_CPU, says=("a grid is written as .png",))
    assert not gif.exists()
