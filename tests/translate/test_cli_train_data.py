"""Where training pictures come from: --domains, --aligned, --images, --dataset, for each method."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit
import torch

from gan_core.checkpoint import load_model, save_model
from translate.data.image import read, write

Command = Callable[..., Any]
Mistake = Callable[..., str]
Contents = Callable[[Path], dict[str, bytes]]
Draw = Callable[..., Path]

SMALL = {
    "pix2pix": ("generator.filters=4", "discriminator.filters=4", "discriminator.layers=1"),
    "cgan": ("generator.filters=4", "generator.latent=8", "discriminator.filters=4"),
}
SMALL["cyclegan"] = (*SMALL["pix2pix"], "generator.blocks=1")
SMALL["gan"] = SMALL["cgan"]
RECIPES = {"gan": ("--recipe", "faces-dcgan-small")}  # of the others, each has one of its name


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def pictures(tmp_path: Path, draw: Draw) -> Path:
    """Pictures in every layout: two folders, halves, classes, and those of the reference."""
    for name in ("drawings", "paintings", "classes/cats", "classes/dogs"):
        draw(tmp_path / name, 4)
    for name in ("trainA", "trainB", "valA", "valB", "testA", "testB"):
        draw(tmp_path / "horses" / name, 3)
    for name in ("halves", "facades/train", "facades/val", "facades/test"):
        for number in range(3):
            write(tmp_path / name / f"{number}.png", halves())
    return tmp_path


def halves() -> np.ndarray:
    """Black on the left, white on the right."""
    return np.repeat(np.array([0, 255], np.uint8), 20)[None, :, None].repeat(20, 0).repeat(3, 2)


def tiny(method: str, *words: object) -> tuple[object, ...]:
    """The words of a training that takes a moment."""
    small = [f"--set=networks.{key}" for key in SMALL[method]]
    length = ("--size", 16, "--batch-size", 2, "--steps", 2, "--workers", 0)
    words = (*RECIPES.get(method, ()), *words)
    return ("train", method, *words, *length, "--device", "cpu", "--precision", "fp32", *small)


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def header_of(run: Path) -> dict[str, Any]:
    return load_model(run / "model.safetensors")[1]


# --------------------------------------------------------------------------------------- the ways

WAYS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "two folders to pix2pix": (
        "pix2pix",
        ("--domains", "drawings", "paintings"),
        "pix2pix-drawings-paintings",
    ),
    "halves": ("pix2pix", ("--aligned", "halves"), "pix2pix-halves"),
    "a data set of halves": ("pix2pix", ("--dataset", "facades"), "pix2pix-facades"),
    "its folder of halves": ("pix2pix", ("--aligned", "facades/train"), "pix2pix-facades"),
    "pictures to colour": (
        "pix2pix",
        ("--images", "drawings", "--recipe", "colourise"),
        "pix2pix-drawings",
    ),
    "pictures to fill": (
        "pix2pix",
        ("--images", "drawings", "--set", "data.derive=fill"),
        "pix2pix-drawings",
    ),
    "a data set of two domains": (
        "cyclegan",
        ("--dataset", "horses"),
        "cyclegan-horses-A-horses-B",
    ),
    "a data set of pairs": ("pix2pix", ("--dataset", "horses"), "pix2pix-horses-A-horses-B"),
    "classes": ("cgan", ("--images", "classes"), "cgan-classes"),
    "pictures of any kind": ("gan", ("--images", "classes"), "gan-classes"),
}
TO_CONVERT = ("translations", "channels", "derived", "networks", "at")
TO_DRAW = ("method", "recipe", "classes", "channels", "networks")


@pytest.mark.parametrize("way", WAYS)
def test_each_way_trains_into_a_folder_of_its_name(
    way: str, pictures: Path, command: Command, contents: Contents, here: Path
) -> None:
    """Its model says what convert and sample need, and where nothing on this machine is."""
    method, words, name = WAYS[way]
    given = [str(pictures / word) if (pictures / word).exists() else word for word in words]
    outcome = command(*tiny(method, *given))
    assert outcome == (0, f"runs/{name}/model.safetensors\n", "")
    run = here / "runs" / name
    assert [path.name for path in (here / "runs").iterdir()] == [name]

    tensors, header = load_model(run / "model.safetensors")
    assert (header["format"], header["method"], header["size"]) == (1, method, 16)
    assert header["range"] == [-1, 1]
    assert "/" not in json.dumps(header)
    assert not {"domains", "aligned", "images", "validation"} & header["recipe"]["data"].keys()
    assert {key.partition(".")[0] for key in tensors} == header["networks"].keys()
    assert ("classes" in header) == (method == "cgan")
    assert ("translations" in header) == (method in ("cyclegan", "pix2pix"))

    wanted = TO_CONVERT if "translations" in header else TO_DRAW
    needed = {key: header[key] for key in wanted if key in header}
    save_model(here / "little.safetensors", tensors, needed)
    for model, out in ((run, "whole"), (here / "little.safetensors", "little")):
        use = ("sample", model, "--count", 2, "--out", out)
        if "translations" in header:
            use = ("convert", model, pictures / "drawings", out)
        assert command(*use, "--device", "cpu").code == 0
    assert len(contents(here / "whole")) == (2 if method == "gan" else 4)  # of each class
    assert contents(here / "whole") == contents(here / "little")


def test_the_recipe_repeats_the_run_and_resuming_needs_no_pictures_named(
    pictures: Path, command: Command, mistake: Mistake, here: Path
) -> None:
    dataset = ("--dataset", "../facades")
    assert command(*tiny("pix2pix", *dataset, "--out", "a")).code == 0
    recipe = tomlkit.parse((here / "a/recipe.toml").read_text()).unwrap()
    assert recipe["data"]["aligned"] == str(pictures / "here/../facades/train")
    assert recipe["data"]["validation"] == [str(pictures / "here/../facades/val")]
    repeat = ("train", "pix2pix", "--recipe", "a/recipe.toml", "--out", "b")
    assert command(*repeat).code == 0
    models = [(here / name / "model.safetensors").read_bytes() for name in "ab"]
    assert models[0] == models[1]
    resume = ("train", "pix2pix", "--resume", "a", "--steps", 3)
    mistake(*resume, "--aligned", pictures / "halves", says=("cannot change data.aligned",))
    mistake(*resume, "--domains", "a", "b", says=("cannot change data.domains",))
    assert command(*resume, *dataset).code == 0
    assert command("train", "pix2pix", "--resume", "a", "--steps", 4).code == 0
    assert log_of(here / "a")[-1]["step"] == 4


# -------------------------------------------------------------------------------------- directions


@pytest.mark.parametrize("direction", ["left-to-right", "right-to-left"])
def test_aligned_pictures_in_both_directions(
    pictures: Path, command: Command, here: Path, direction: str
) -> None:
    """Of black left and white right halves: the grid shows input, what was made, and target."""
    source, _, target = direction.split("-")
    words = ("--aligned", pictures / "halves", "--set", f"data.direction={direction}")
    assert command(*tiny("pix2pix", *words, "--out", "a")).code == 0
    header = header_of(here / "a")
    assert header["translations"] == [{"network": "G", "from": source, "to": target}]
    assert header["channels"] == {"left": 3, "right": 3}
    shown = read(here / "a/samples/step-00000002.png")
    shades = {"left": 0, "right": 255}
    assert (shown[:16, :16] == shades[source]).all()
    assert (shown[36:, :16] == shades[target]).all()


def test_names_are_of_input_and_target(pictures: Path, command: Command, here: Path) -> None:
    right_to_left = ("--set", "data.direction=right-to-left", "--names", "labels", "photos")
    words = ("--dataset", pictures / "facades", *right_to_left)
    assert command(*tiny("pix2pix", *words)).code == 0
    header = header_of(here / "runs/pix2pix-facades")
    assert header["translations"] == [{"network": "G", "from": "labels", "to": "photos"}]


# ----------------------------------------------------------------------- as the reference has them


@pytest.mark.parametrize("method", ["cyclegan", "pix2pix"])
def test_trainA_and_trainB(  # noqa: N802
    pictures: Path, command: Command, here: Path, method: str
) -> None:
    """Judged by valA and valB; testA and testB are left alone."""
    assert command(*tiny(method, "--dataset", pictures / "horses", "--out", "a")).code == 0
    data = tomlkit.parse((here / "a/recipe.toml").read_text()).unwrap()["data"]
    horses = pictures / "horses"
    assert data["domains"] == [str(horses / "trainA"), str(horses / "trainB")]
    assert data["validation"] == [str(horses / "valA"), str(horses / "valB")]
    first, *others = header_of(here / "a")["translations"]
    assert (first["from"], first["to"]) == ("horses-A", "horses-B")
    assert len(others) == (method == "cyclegan")
    assert any("swd horses-B" in line for line in log_of(here / "a"))


def test_aligned_pictures_in_train(pictures: Path, command: Command, here: Path) -> None:
    """Judged by val where there is one."""
    for folder in (pictures / "facades" / "val").iterdir():
        folder.unlink()
    (pictures / "facades" / "val").rmdir()
    assert command(*tiny("pix2pix", "--dataset", pictures / "facades", "--out", "a")).code == 0
    write(pictures / "facades" / "val" / "a.png", halves())
    assert command(*tiny("pix2pix", "--dataset", pictures / "facades", "--out", "b")).code == 0
    judged = [["l1 right" in line for line in log_of(here / run)] for run in "ab"]
    assert [any(lines) for lines in judged] == [False, True]
    assert header_of(here / "b")["translations"][0]["from"] == "left"


def test_other_names_for_the_references_domains(
    pictures: Path, command: Command, here: Path
) -> None:
    words = ("--dataset", pictures / "horses", "--names", "horses", "zebras")
    assert command(*tiny("cyclegan", *words)).code == 0
    assert header_of(here / "runs/cyclegan-horses-zebras")["channels"].keys() == {
        "horses",
        "zebras",
    }


def test_the_folder_one_stands_in(
    pictures: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, method, name in (
        ("horses", "cyclegan", "cyclegan-horses-A-horses-B"),
        ("facades", "pix2pix", "pix2pix-facades"),
    ):
        monkeypatch.chdir(pictures / folder)
        assert command(*tiny(method, "--dataset", ".")).code == 0
        assert (pictures / folder / "runs" / name / "model.safetensors").is_file()


# ---------------------------------------------------------------------------------------- mistakes

GIVE = {
    "cyclegan": "give the two folders of pictures: --domains sketches photos",
    "pix2pix": "give the pairs: --domains labels photos (equal names belong together), or "
    "--aligned DIR (left and right half)",
    "cgan": "give the folder of pictures, with a sub-folder for each class: --images DIR",
    "gan": "give the folder of pictures: --images DIR",
}


@pytest.mark.parametrize("method", SMALL)
def test_no_pictures_named(method: str, mistake: Mistake, here: Path) -> None:
    assert mistake(*tiny(method), says=()) == f"error: {GIVE[method]}\n"
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("method", "way", "words"),
    [
        ("cyclegan", "--aligned", ("halves",)),
        ("cyclegan", "--images", ("classes",)),
        ("cyclegan", "--dataset", ("facades",)),
        ("cgan", "--domains", ("drawings", "paintings")),
        ("cgan", "--aligned", ("halves",)),
        ("cgan", "--dataset", ("facades",)),
        ("cgan", "--dataset", ("horses",)),
        ("gan", "--domains", ("drawings", "paintings")),
        ("gan", "--aligned", ("halves",)),
        ("gan", "--dataset", ("facades",)),
    ],
)
def test_a_way_of_another_method_says_which_is_the_right_one(
    method: str, way: str, words: tuple[str, ...], pictures: Path, mistake: Mistake, here: Path
) -> None:
    says = (f"what {way} names is not what {method} is trained on: {GIVE[method]}",)
    mistake(*tiny(method, way, *(pictures / word for word in words)), says=says)
    assert not list(here.iterdir())


@pytest.mark.parametrize("method", SMALL)
def test_two_ways_at_once(method: str, pictures: Path, mistake: Mistake, here: Path) -> None:
    """Whichever two: neither wins over the other."""
    ways: dict[str, tuple[object, ...]] = {
        "--domains": (pictures / "drawings", pictures / "paintings"),
        "--aligned": (pictures / "halves",),
        "--images": (pictures / "classes",),
        "--dataset": (pictures / "horses",),
    }
    for one, of_one in ways.items():
        for other, of_other in ways.items():
            if one != other:
                says = ("name the pictures in one way: ", one, other, " or ")
                mistake(*tiny(method, one, *of_one, other, *of_other), says=says)
    assert not list(here.iterdir())


def test_a_way_beside_that_of_the_recipe(
    pictures: Path, command: Command, mistake: Mistake, here: Path
) -> None:
    """A run's own recipe names its pictures."""
    domains = ("--domains", pictures / "drawings", pictures / "paintings")
    assert command(*tiny("pix2pix", *domains, "--out", "a")).code == 0
    again = ("train", "pix2pix", "--recipe", "a/recipe.toml", "--out", "b")
    mistake(*again, "--aligned", pictures / "halves", says=("give the pairs: ",))
    assert not (here / "b").exists()


@pytest.mark.parametrize("method", SMALL)
@pytest.mark.parametrize("folder", ["drawings", "missing", "horses/trainA/00.png"])
def test_a_data_set_of_another_layout(
    method: str, folder: str, pictures: Path, mistake: Mistake, here: Path
) -> None:
    says = (f"{pictures / folder} has neither trainA and trainB nor train", "--domains")
    mistake(*tiny(method, "--dataset", pictures / folder), says=says)
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("method", "words", "says"),
    [
        ("pix2pix", ("--aligned", "../missing"), "there is no folder ../missing"),
        ("pix2pix", ("--aligned", "../horses/trainA/00.png"), "is a file; a folder"),
        ("pix2pix", ("--aligned", "../halves", "--set=data.direction=up"), "'right-to-left'"),
        ("pix2pix", ("--aligned", "../halves", "--names", "a", "a"), "names must differ"),
        ("pix2pix", ("--images", "../drawings"), "say what is to be learned"),
        ("pix2pix", ("--recipe=colourise", "--aligned", "../halves"), "makes pairs of one"),
        ("cgan", ("--images", "../missing"), "there is no folder"),
        ("cgan", ("--images", "../drawings"), "classes are told apart by sub-folders"),
        ("cgan", ("--images", "../classes", "--names", "a", "b"), "no key 'names'"),
        ("gan", ("--images", "../missing"), "there is no folder"),
        ("gan", ("--images", "../classes", "--names", "a", "b"), "no key 'names'"),
    ],
)
def test_pictures_that_are_not_there_or_not_as_they_should_be(
    method: str, words: tuple[str, ...], says: str, pictures: Path, mistake: Mistake, here: Path
) -> None:
    mistake(*tiny(method, *words), says=(says.replace("../missing", f"{here}/../missing"),))
    assert not list(here.iterdir())


def test_a_resumed_run_keeps_its_classes_and_tells_of_other_pictures(
    pictures: Path, command: Command, mistake: Mistake, here: Path
) -> None:
    shutil.copytree(pictures / "classes", here / "classes")
    assert command(*tiny("cgan", "--images", "classes", "--out", "a")).code == 0
    first, *_ = names = [path.name for path in sorted((here / "classes").iterdir())]
    shutil.copytree(here / "classes" / first, here / "classes" / "aaa")
    resume = ("train", "cgan", "--resume", "a", "--steps")
    assert command(*resume, 3) == (0, "a/model.safetensors\n", "")
    assert load_model(here / "a/model.safetensors")[1]["classes"] == names
    next((here / "classes" / first).iterdir()).unlink()
    told = command(*resume, 4)
    assert told.code == 0
    assert "the pictures are not those that the run began with" in told.err
    (here / "classes" / first).rename(here / "classes" / "renamed")
    mistake(*resume, 5, says=(f"there is no folder {here / 'classes' / first}",))


def test_a_checkpoint_of_another_version_is_one_line(
    pictures: Path, command: Command, mistake: Mistake, here: Path
) -> None:
    assert command(*tiny("cgan", "--images", pictures / "classes", "--out", "a")).code == 0
    (path,) = (here / "a/checkpoints").iterdir()
    state = torch.load(path)
    for missing in state:
        torch.save({key: state[key] for key in state if key != missing}, path)
        mistake("train", "cgan", "--resume", "a", "--steps", 3, says=("does not fit", missing))
