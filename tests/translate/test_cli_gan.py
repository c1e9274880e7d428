"""``translate train gan``: what draws from noise, of pictures in a folder or of points."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import tomlkit

from gan_core.checkpoint import load_model
from translate.recipe_file import recipes_of

Command = Callable[..., Any]
Mistake = Callable[..., str]
Words = tuple[object, ...]

ON_CPU = ("--device", "cpu", "--precision", "fp32", "--workers", 0)
TOY = (
    *("train", "gan", "--recipe", "8gaussians-wgan-gp", "--steps", 2, *ON_CPU),
    *("--set", "data.points=200", "--batch-size", 50, "--set", "run.judged=100"),
    *("--set", "networks.generator.filters=16", "--set", "networks.discriminator.filters=16"),
)
SECTIONS = {"faces-ogan-small": ("generator", "encoder")}


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def faces(tmp_path: Path, draw: Callable[..., Path]) -> Path:
    return draw(tmp_path / "faces", 5)


def small(recipe: str, faces: Path) -> Words:
    """The words of a tiny training; later options count over its own."""
    sections = SECTIONS.get(recipe, ("generator", "discriminator"))
    filters = [word for name in sections for word in ("--set", f"networks.{name}.filters=4")]
    length = ("--size", 16, "--batch-size", 2, "--steps", 2, *ON_CPU)
    return ("train", "gan", "--recipe", recipe, "--images", faces, *length, *filters)


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------------------------ what it makes


@pytest.mark.parametrize(
    ("recipe", "networks", "rows", "terms"),
    [
        ("faces-dcgan-small", {"G"}, 2, {"D", "adversarial G"}),
        ("faces-ebgan-small", {"G", "D"}, 3, {"energy D", "margin D", "energy G"}),
        ("faces-began-small", {"G", "D"}, 3, {"energy D", "energy G", "k", "measure"}),
        ("faces-ogan-small", {"G", "E"}, 3, {"E", "penalty E", "correlation G"}),
    ],
)
def test_a_run_folder_holds_what_the_contract_says(
    recipe: str,
    networks: set[str],
    rows: int,
    terms: set[str],
    faces: Path,
    command: Command,
    here: Path,
) -> None:
    """Grids show pictures, reconstructions where there is an encoder, and what was drawn."""
    assert command(*small(recipe, faces)) == (0, "runs/gan-faces/model.safetensors\n", "")
    run = here / "runs" / "gan-faces"
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names == {
        "recipe.toml",
        "log.jsonl",
        "samples/step-00000002.png",
        "checkpoints/step-00000002.pt",
        "model.safetensors",
        "best.safetensors",
    }
    losses, figures = lines_of(run)
    assert losses.keys() >= terms
    assert (losses["step"], losses["images"], losses["skipped"]) == (2, 4, 0)
    assert figures.keys() == {"step", "swd faces"}
    written = tomlkit.parse((run / "recipe.toml").read_text()).unwrap()
    assert written["data"]["images"] == str(faces)
    assert written["method"]["noise"] == 0.0  # defaults of parts included
    tensors, header = load_model(run / "model.safetensors")
    assert {name.partition(".")[0] for name in tensors} == header["networks"].keys() == networks
    assert header["method"] == written["method"]["name"]
    assert str(here.parent) not in json.dumps(header)
    grid = cv2.imread(str(run / "samples" / "step-00000002.png"))
    assert grid.shape == (rows * 16 + (rows - 1) * 2, 5 * 16 + 4 * 2, 3)


def test_toys_need_no_folder(command: Command, here: Path) -> None:
    assert command(*TOY) == (0, "runs/gan-8gaussians/model.safetensors\n", "")
    run = here / "runs" / "gan-8gaussians"
    losses, figures = lines_of(run)
    assert losses.keys() >= {"D", "penalty D", "adversarial G"}
    assert losses["images"] == 2 * 5 * 50  # five batches of the critic for each of the generator
    assert set(figures) - {"step"} == {
        f"{n} 8gaussians" for n in ("wasserstein", "modes", "quality")
    }
    _, header = load_model(run / "model.safetensors")
    assert (header["size"], header["distribution"]) == (None, "8gaussians")
    assert cv2.imread(str(run / "samples" / "step-00000002.png")).shape == (512, 512, 3)


def test_a_dry_run_of_a_toy(command: Command, here: Path) -> None:
    outcome = command(*TOY, "--dry-run")
    assert (outcome.code, outcome.err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert lines["method"] == "gan"
    assert lines["data"] == "200 of 8gaussians"
    assert lines["parameters"] == "G 626, D 609"  # 2-16-16-16-2 and 2-16-16-16-1, with biases
    assert not list(here.iterdir())


def test_a_folder_smaller_than_a_batch_is_told_of(faces: Path, command: Command) -> None:
    outcome = command(*small("faces-dcgan-small", faces), "--batch-size", 8)
    assert outcome.code == 0
    (line,) = outcome.err.splitlines()
    assert line.startswith("5 of faces for batches of 8: ")
    assert "lower data.batch_size" in line
    assert command(*small("faces-dcgan-small", faces), "--batch-size", 5, "--out", "b").err == ""


def test_all_of_the_family_train_under_its_name_and_under_their_own(
    faces: Path, command: Command, mistake: Mistake
) -> None:
    words = small("faces-began-small", faces)
    assert command(*words, "--out", "a").code == 0
    assert command("train", "began", *words[2:], "--out", "b").code == 0
    models = [Path(run, "model.safetensors").read_bytes() for run in "ab"]
    assert models[0] == models[1]
    for name in ("gan", "began"):
        assert command("train", name, "--resume", "a", "--steps", 3).code == 0
    for name in ("ogan", "cyclegan"):
        says = (f"this recipe is for the method 'began', not '{name}'",)
        mistake("train", name, "--resume", "a", "--steps", 4, says=says)
        mistake("train", name, *words[2:], "--out", "c", says=())
    assert not Path("c").exists()


# ----------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("method", ["gan", "ebgan", "began", "ogan"])
@pytest.mark.parametrize("verb", ["train", "explain"])
def test_without_a_recipe_it_says_which_there_are(
    verb: str, method: str, mistake: Mistake, here: Path
) -> None:
    said = mistake(verb, method, says=("choose what to train, with --recipe: ",))
    assert said.partition("--recipe: ")[2].strip().split(", ") == recipes_of(method)
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("recipe", "change", "says"),
    [
        # what would train, and be wrong
        (
            "faces-wgan-gp-small",
            "networks.discriminator.norm=batch",
            "[method] penalty = 'two-sided' is taken sample by sample, and batch normalisation",
        ),
        ("faces-wgan-gp-small", "method.penalty=none", "'wgan' needs a bounded critic"),
        ("faces-wgan-gp-small", "method.lambda_penalty=0", "'wgan' needs a bounded critic"),
        ("faces-ogan-small", "networks.generator.latent=2", "latent must be 3 or more, not 2"),
        ("faces-ebgan-small", "method.margin=56", "margin = 56.0 can never be reached: an energy"),
        ("faces-ebgan-small", "method.energy=absolute", "is at most 2 for pictures of 768 numbers"),
        ("faces-wgan-gp-small", "method.balance=0.8", "balance count scores on the right side of"),
        ("faces-began-small", "method.balance=0.8", "balance count scores on the right side of"),
        ("faces-dcgan-small", "method.augment=[]", ""),
        # numbers out of range
        ("faces-dcgan-small", "method.noise=-1", "noise must be 0 or more"),
        ("faces-dcgan-small", "method.noise_until=0", "noise_until above 0"),
        ("faces-dcgan-small", "method.augment_target=1", "augment_target must be 0 or more and"),
        ("faces-dcgan-small", "method.balance=2", "balance must be from 0 to 1"),
        ("faces-dcgan-small", "method.discriminator_steps=0", "discriminator_steps must be 1 or"),
        ("faces-dcgan-small", "method.clip=0", "clip must be above 0"),
        ("faces-dcgan-small", "method.lambda_drift=-1", "lambda_drift must be 0 or more"),
        ("faces-dcgan-small", "method.penalty_target=0", "penalty_target must be above 0"),
        ("faces-ebgan-small", "method.margin=0", "margin must be above 0"),
        ("faces-began-small", "method.gamma=1.5", "gamma must be above 0 and at most 1"),
        ("faces-began-small", "method.lambda_k=0", "lambda_k above 0"),
        ("faces-ogan-small", "method.lambda_code=-1", "lambda_code must be 0 or more"),
        ("faces-dcgan-small", "data.size=24", "size must be a power of two from 16 to 512, not 24"),
        ("faces-dcgan-small", "data.aspect=[0, 1]", "aspect must be rows and columns"),
        # words that mean nothing here
        ("faces-dcgan-small", "method.loss=wasserstein", "'tvgan-zero'"),
        ("faces-dcgan-small", "method.prior=gaussian", "'normal', 'uniform' or 'sphere'"),
        ("faces-dcgan-small", "method.augment=['color']", "should be 'colour', 'translation' or"),
        ("faces-dcgan-small", "method.lambda_cod=1", "no key 'lambda_cod'"),
        ("faces-ogan-small", "method.head=network", "method 'ogan' needs [networks.head]"),
        ("faces-dcgan-small", "data.kind=labelled", "[data] kind = 'labelled' is not known"),
        (
            "faces-dcgan-small",
            "data.kind=points",
            "[data] images: this recipe is not trained on such",
        ),
        (
            "faces-ebgan-small",
            "networks.discriminator.kind=dcgan-discriminator",
            "is no discriminator for 'ebgan'; choose autoencoder, began-autoencoder",
        ),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    recipe: str, change: str, says: str, faces: Path, mistake: Mistake, here: Path
) -> None:
    words = (*small(recipe, faces), "--set", change)
    if change == "method.augment=[]":  # alone it is none
        words = (*words, "--set", "method.augment_target=0.6")
        says = "augment_target = 0.6 needs something to adapt"
    mistake(*words, says=(says,))
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--set", "data.points=0"), "points must be 1 or more, not 0"),
        (("--set", "data.distribution=9gaussians"), "'8gaussians', '25gaussians' or 'swissroll'"),
        (("--size", 16), "[data] has no key 'size'"),
        (("--images", "faces"), "[data] images: this recipe is not trained on such, give no fol"),
        (("--set", "networks.discriminator.norm=batch"), "should be 'layer' or 'none'"),
        (("--set", "method.augment=['colour']"), "only pictures"),
        (("--set", "networks.generator.kind=dcgan"), "is no generator for 'gan'; choose mlp"),
    ],
    ids=str,
)
def test_a_mistake_with_points(words: Words, says: str, mistake: Mistake, here: Path) -> None:
    mistake(*TOY, *words, says=(says,))
    assert not list(here.iterdir())


def test_a_network_for_points_is_none_for_pictures(
    faces: Path, mistake: Mistake, here: Path
) -> None:
    points = ("--set", "networks.discriminator.kind=mlp-discriminator")
    says = ("the networks and the data do not fit together",)
    mistake(*small("faces-dcgan-small", faces), *points, says=says)
    assert not list(here.iterdir())


def test_the_kind_that_data_have_anyway_changes_nothing(faces: Path, command: Command) -> None:
    words = small("faces-dcgan-small", faces)
    assert command(*words, "--out", "a").code == 0
    assert command(*words, "--set", "data.kind=unlabelled", "--out", "b").code == 0
    assert Path("a/model.safetensors").read_bytes() == Path("b/model.safetensors").read_bytes()
