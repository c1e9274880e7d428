"""Pictures drawn from noise: which, how many, where they go, and what they depend on."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import save_tiny

from gan_core.checkpoint import load_model, save_model
from gan_core.losses.codes import normalised
from translate.data.image import read, write
from translate.errors import UserError
from translate.networks import rebuild
from translate.sampler import Sampler

Command = Callable[..., Any]
Mistake = Callable[..., str]
Contents = Callable[[Path], dict[str, bytes]]
Drawn = Callable[..., dict[str, bytes]]

CLASSES = ["cats", "dogs", "wild cows"]
CPU = torch.device("cpu")
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
    needed = {key: header[key] for key in ("method", "classes", "networks", "recipe")}
    save_model(tmp_path / "other name", tensors, needed)
    sampler = Sampler(tmp_path / "other name", CPU, "fp32")
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


def test_the_numbers_behind_a_picture(trained: Callable[..., Path]) -> None:
    """As NumPy seeds them by (seed, class) and torch draws them, one picture after the other."""
    tensors, header = load_model(trained() / "model.safetensors")
    G = rebuild(header["networks"]["G"]).eval()
    G.load_state_dict({name.removeprefix("G."): t for name, t in tensors.items()})
    state = np.random.SeedSequence([5, 2]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state) // 2)
    for image in Sampler(trained(), CPU, "fp32").draw(2, 3, seed=5):
        with torch.no_grad():
            made = G(torch.randn(1, 8, generator=generator), torch.tensor([2]))[0]
        shown = (made.permute(1, 2, 0).numpy() + 1) * 127.5
        assert np.abs(shown - image).max() < 0.51


class Fed(torch.nn.Module):
    """In place of a generator: keeps what it is given."""

    latent = 8

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        self.drawn = [*getattr(self, "drawn", []), (z, label)]
        return z[:, :1, None, None].clamp(-1, 1)


def fed(sampler: Sampler, count: int, label: int = 0, seed: int = 0) -> torch.Tensor:
    """[count, 8]: what the sampler gives to its generator."""
    sampler.model.nets["G"] = net = Fed()
    assert len(list(sampler.draw(label, count, seed))) == count
    labels = [given for _, given in net.drawn]
    assert all(x is None or x.tolist() == [label] for x in labels)
    assert all((x is None) == (not sampler.classes) for x in labels)
    return torch.cat([z for z, _ in net.drawn])


def test_each_class_has_normal_noise_of_its_own(trained: Callable[..., Path]) -> None:
    noise = [
        fed(Sampler(trained(), CPU, "fp32"), 500, label, seed)
        for seed, label in ((0, 0), (0, 1), (1, 0))
    ]
    for z in noise:  # five standard errors of 4000 draws
        assert z.shape == (500, 8)
        assert abs(z.mean()) < 0.08
        assert 0.94 < z.std() < 1.06
    assert len(torch.cat(noise).unique(dim=0)) == 1500


def test_bf16_is_near_fp32(trained: Callable[..., Path]) -> None:
    exact, near = (
        next(Sampler(trained(), CPU, precision).draw(0, 1, seed=0))
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
        (lambda header: header.update(networks={}), "'G'"),
        (lambda header: header.update(networks=7), "not iterable"),
        (lambda header: header["networks"].update(H={}), "'kind'"),
        (lambda header: header.update(method="vae"), "no method is called 'vae'"),
        (lambda header: header.pop("method"), "'method'"),
        (lambda header: header.pop("recipe"), "'recipe'"),
        (lambda header: header["recipe"].update(method=3), "not iterable"),
        (lambda header: header["recipe"]["method"].update(prior="cube"), "prior"),
        (lambda header: header["recipe"]["method"].update(speed=3), "no key 'speed'"),
        (lambda header: header["networks"]["G"].pop("kind"), "'kind'"),
        (lambda header: header["networks"]["G"].update(kind="vae"), "'vae' is not known here"),
        (lambda header: header["networks"]["G"].pop("arguments"), "'arguments'"),
        (lambda header: header["networks"]["G"]["arguments"].pop("latent"), "state_dict"),
        (lambda header: header["networks"]["G"]["arguments"].update(latent=9), "state_dict"),
        (lambda header: header["networks"]["G"]["arguments"].pop("classes"), "state_dict"),
        (lambda header: header["classes"].append("more"), "4 classes are named"),
        (lambda header: header["classes"].pop(), "2 classes are named, the network knows 3"),
        (lambda header: header.pop("classes"), "0 classes are named, the network knows 3"),
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


def test_a_model_that_makes_no_numbers(
    untrained: Callable[..., Path], mistake: Mistake, tmp_path: Path
) -> None:
    tensors, header = load_model(untrained("ogan"))
    tensors["G.layers.0.weight"][0] = math.nan
    save_model(tmp_path / "nan", tensors, header)
    write(tmp_path / "a.png", np.zeros((16, 16, 3), np.uint8))
    out = ("--out", tmp_path / "b.png", *ON_CPU)
    says = ("the model makes no numbers", "--precision fp32")
    mistake("sample", tmp_path / "nan", *out, says=says)
    mistake("reconstruct", tmp_path / "nan", tmp_path / "a.png", *out, says=says)
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize("name", ["../up", "..", ".", "", ".hidden", "a/b", "/a", "a/"])
def test_no_model_writes_outside_of_the_folder(
    trained: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """A model file may be a stranger's."""

    def rename(header: dict[str, Any]) -> None:
        header["classes"][1] = name

    path = changed(trained(), tmp_path / "changed.safetensors", rename)
    with pytest.raises(UserError, match=re.escape(f"class {name!r} is no folder's name")):
        Sampler(path, CPU)


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
    mistake("sample", trained(), "--out", gif, *ON_CPU, says=("a file is written as .png",))
    assert not gif.exists()


# ------------------------------------------------------------------------------- without classes


@pytest.fixture
def untrained(shelf: Path, draw: Callable[..., Path]) -> Callable[..., Path]:
    """An unconditional model of 16 x 16 pictures or, of points, none."""

    def save(system: str = "gan", channels: int = 3, **keys: object) -> Path:
        name = "-".join(map(str, (system, channels, *keys.values())))
        path = shelf / f"{name.replace(' ', '-')}.safetensors"
        if not path.exists():
            folder = None if system == "gan points" else draw(shelf / f"faces-{channels}", 3)
            given = {} if folder is None else {"data__channels": channels}
            save_tiny(path, system, folder, **given, **keys)
        return path

    return save


@pytest.mark.parametrize("system", ["gan", "ebgan", "began", "ogan", "ogan mapping"])
def test_a_folder_of_pictures_without_classes(
    untrained: Callable[..., Path], drawn: Drawn, system: str
) -> None:
    """Picture by picture the same whatever the count; another seed's are others."""
    found = drawn(untrained(system), "--count", 5, "--seed", 3)
    assert list(found) == [f"{number:05}.png" for number in range(5)]
    assert len(set(found.values())) == 5
    assert drawn(untrained(system), "--count", 2, "--seed", 3).items() <= found.items()
    assert not set(drawn(untrained(system), "--count", 5).values()) & set(found.values())


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (4, 2, 2), (5, 2, 3), (8, 3, 3), (9, 3, 3)]
)
def test_a_grid_without_classes_is_near_a_square(
    untrained: Callable[..., Path],
    command: Command,
    tmp_path: Path,
    count: int,
    rows: int,
    columns: int,
) -> None:
    grid = tmp_path / "grid.png"
    outcome = command("sample", untrained(), "--out", grid, "--count", count, *ON_CPU)
    assert outcome == (0, f"{count} pictures: {grid}\n", "")
    sheet = read(grid)
    assert sheet.shape == (rows * 18 - 2, columns * 18 - 2, 3)
    for number, image in enumerate(Sampler(untrained(), CPU, "fp32").draw(0, count, seed=0)):
        top, left = number // columns * 18, number % columns * 18
        np.testing.assert_array_equal(sheet[top : top + 16, left : left + 16], image)


@pytest.mark.parametrize(("channels", "gan"), [(1, "gan"), (4, "began")])
def test_pictures_have_the_models_channels(
    untrained: Callable[..., Path], channels: int, gan: str
) -> None:
    (image,) = Sampler(untrained(gan, channels), CPU, "fp32").draw(0, 1, seed=0)
    assert image.shape == (16, 16, channels)


def test_a_prior_is_the_recipes(untrained: Callable[..., Path]) -> None:
    """BEGAN's default is uniform, by the normal distribution function of the very same draws."""
    normal = fed(Sampler(untrained("gan"), CPU, "fp32"), 50)
    uniform = fed(Sampler(untrained("began"), CPU, "fp32"), 50)
    expected = [[math.erf(z / math.sqrt(2)) for z in row] for row in normal.tolist()]
    np.testing.assert_allclose(uniform.numpy(), expected, atol=1e-6)
    sphere = fed(Sampler(untrained("gan", method__prior="sphere"), CPU, "fp32"), 50)
    np.testing.assert_allclose(sphere.norm(dim=1).numpy(), math.sqrt(8), rtol=1e-6)


def test_what_has_no_classes_takes_no_label(
    untrained: Callable[..., Path], mistake: Mistake, tmp_path: Path
) -> None:
    for system in ("gan", "gan points"):
        words = ("--out", tmp_path / "a.png", "--label", "cats")
        mistake("sample", untrained(system), *words, says=("trained without classes", "'cats'"))
    assert not (tmp_path / "a.png").exists()


# ------------------------------------------------------------------------------------- truncation


def test_resampled_draws_lie_within(untrained: Callable[..., Path]) -> None:
    """Those that did already stay: pictures are the same but for what was unusual in them."""
    free = fed(Sampler(untrained(), CPU, "fp32"), 200)
    held = fed(Sampler(untrained(), CPU, "fp32", 0.7, "resample"), 200)
    within = free.abs() <= 0.7
    assert 0.4 < within.float().mean() < 0.6
    assert torch.equal(held[within], free[within])
    anew = held[~within]
    assert anew.abs().max() <= 0.7
    assert len(anew.unique()) == len(anew)
    # A normal distribution cut at c: mean 0, variance 1 - 2 c phi(c) / (2 Phi(c) - 1); five errors.
    density, share = math.exp(-0.245) / math.sqrt(2 * math.pi), math.erf(0.7 / math.sqrt(2))
    deviation = math.sqrt(1 - 1.4 * density / share)
    assert abs(anew.mean()) < 5 * deviation / math.sqrt(len(anew))
    assert anew.std() == pytest.approx(deviation, rel=0.1)


def test_scaled_draws_are_scaled(untrained: Callable[..., Path]) -> None:
    """Before the prior."""
    free = fed(Sampler(untrained(), CPU, "fp32"), 20)
    assert torch.equal(fed(Sampler(untrained(), CPU, "fp32", 0.3, "scale"), 20), 0.3 * free)
    uniform = fed(Sampler(untrained("began"), CPU, "fp32", 0.3, "scale"), 20)
    np.testing.assert_allclose(uniform.numpy(), torch.erf(0.3 * free / math.sqrt(2)), atol=1e-6)


def seen_by(sampler: Sampler, count: int) -> torch.Tensor:
    """[count, 8]: what reaches the generator itself, behind what is in front of it."""
    inputs: list[torch.Tensor] = []
    *_, G = (m for m in sampler.model.nets["G"].modules() if hasattr(m, "latent"))
    hook = G.register_forward_pre_hook(lambda net, given: inputs.append(given[0]))
    list(sampler.draw(0, count, seed=0))
    hook.remove()
    return torch.cat(inputs)


@pytest.mark.parametrize("system", ["gan", "began", "ogan mapping"])
def test_latents_are_drawn_towards_their_mean(untrained: Callable[..., Path], system: str) -> None:
    """mean + psi (w - mean), the mean 0 but behind a mapping network; there by 50,000 draws."""
    plain = Sampler(untrained(system), CPU, "fp32")
    free = seen_by(plain, 20)
    held = seen_by(Sampler(untrained(system), CPU, "fp32", 0.4, "mean"), 20)
    mean = torch.zeros(8)
    if system == "ogan mapping":
        z = torch.randn(50_000, 8, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            mean = normalised(plain.model.nets["W"](z)).mean(0)
        assert mean.abs().max() > 0.1
    bound = 0.05 if system == "ogan mapping" else 1e-5
    np.testing.assert_allclose(held.numpy(), (mean + 0.4 * (free - mean)).numpy(), atol=bound)


def test_a_truncation_of_one_towards_the_mean_changes_nothing_but_statistics(
    untrained: Callable[..., Path],
) -> None:
    """BEGAN's generator has none."""
    free = list(Sampler(untrained("began"), CPU, "fp32").draw(0, 3, seed=0))
    held = list(Sampler(untrained("began"), CPU, "fp32", 1.0, "mean").draw(0, 3, seed=0))
    for a, b in zip(free, held, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1


@pytest.mark.parametrize("kind", ["resample", "scale", "mean"])
@pytest.mark.parametrize("classes", [0, 3])
def test_statistics_are_those_of_truncated_draws(
    untrained: Callable[..., Path], trained: Callable[..., Path], kind: str, classes: int
) -> None:
    """The first batch norm goes by the mean and variance of what it sees, of all classes."""
    sampler = Sampler(trained() if classes else untrained(), CPU, "fp32", 0.4, kind)
    assert len(sampler.classes) == classes
    norm = next(m for m in sampler.model.nets["G"].modules() if type(m).__name__ == "BatchNorm2d")
    assert not norm.training
    inputs: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda net, given: inputs.append(given[0]))
    for label in range(max(classes, 1)):
        sampler.made(torch.cat(list(sampler.normals(label, 300, seed=1))), label)
    x = torch.cat(inputs)
    deviation = x.std((0, 2, 3))
    assert ((norm.running_mean - x.mean((0, 2, 3))) / deviation).abs().max() < 0.3
    ratio = norm.running_var / deviation**2
    assert ratio.min() > 0.6
    assert ratio.max() < 1.5


def test_statistics_are_left_alone_without_truncation(untrained: Callable[..., Path]) -> None:
    tensors, _ = load_model(untrained())
    nets = Sampler(untrained(), CPU, "fp32").model.nets
    for name, tensor in tensors.items():
        assert torch.equal(nets["G"].state_dict()[name.removeprefix("G.")], tensor)


def test_a_truncated_picture_depends_on_seed_class_and_number_alone(
    trained: Callable[..., Path], drawn: Drawn
) -> None:
    words = ("--truncation", 0.5, "--seed", 7)
    whole = drawn(trained(), "--count", 3, *words)
    assert len(set(whole.values())) == 9
    part = drawn(trained(), "--count", 2, "--label", "dogs", *words)
    assert part.items() <= whole.items()
    assert not drawn(trained(), "--count", 3, "--seed", 7).items() & whole.items()
    scaled = drawn(trained(), "--count", 3, *words, "--truncation-kind", "scale")
    assert not scaled.items() & whole.items()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--truncation", 0), "a truncation must be above 0, not 0.0"),
        (("--truncation", "nan"), "a truncation must be above 0, not nan"),
        (("--truncation", 1, "--truncation-kind", "means"), "'means'; did you mean 'mean'?"),
    ],
)
def test_truncations_that_mean_nothing(
    untrained: Callable[..., Path],
    mistake: Mistake,
    tmp_path: Path,
    words: tuple[object, ...],
    says: str,
) -> None:
    mistake("sample", untrained(), "--out", tmp_path / "out", *words, says=(says,))
    assert not (tmp_path / "out").exists()


def test_a_sphere_has_no_scale(untrained: Callable[..., Path]) -> None:
    model = untrained("gan", method__prior="sphere")
    with pytest.raises(UserError, match="draws from a sphere, which undoes any scale"):
        Sampler(model, CPU, "fp32", 0.5, "scale")
    fed(Sampler(model, CPU, "fp32", 0.5, "resample"), 2)


# ----------------------------------------------------------------------------------------- points


def test_points_as_numbers_and_as_a_scatter(
    untrained: Callable[..., Path], command: Command, tmp_path: Path
) -> None:
    model, table, picture = untrained("gan points"), tmp_path / "a.csv", tmp_path / "a.png"
    for out in (table, picture):
        outcome = command("sample", model, "--out", out, "--count", 40, "--seed", 2, *ON_CPU)
        assert outcome == (0, f"40 points: {out}\n", "")
    assert table.read_text().startswith("x,y\n")
    points = np.loadtxt(table, delimiter=",", skiprows=1)
    sampler = Sampler(model, CPU, "fp32")
    made = torch.cat([sampler.made(z, 0) for z in sampler.normals(0, 40, 2)])
    np.testing.assert_allclose(points, made.numpy(), rtol=1e-5)
    assert len(np.unique(points, axis=0)) == 40
    sheet = read(picture)
    assert sheet.shape == (512, 512, 3)
    for x, y in points[np.abs(points).max(1) < 2.4]:
        row, column = (2.5 - y) * 512 / 5, (x + 2.5) * 512 / 5
        assert (sheet[int(row), int(column)] != 255).any()
    assert (sheet == 255).all(2).mean() > 0.8


def test_points_go_into_one_file(
    untrained: Callable[..., Path], mistake: Mistake, tmp_path: Path
) -> None:
    words = ("sample", untrained("gan points"), "--out")
    mistake(*words, tmp_path / "out", says=("the model makes points", ".csv"))
    mistake(*words, tmp_path / "a.txt", says=("a.txt: a file is written as .png", ".csv"))
    mistake("sample", untrained(), "--out", tmp_path / "a.csv", says=("a.csv: a file is written",))
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_kind_of_truncation_needs_to_know_how_much(mistake: Mistake, tmp_path: Path) -> None:
    words = ("sample", "model", "--out", tmp_path / "grid.png", "--truncation-kind", "scale")
    mistake(*words, says=("--truncation-kind", "by --truncation"))
