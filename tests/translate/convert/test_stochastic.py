"""pix2pix's noise: without --stochastic there is none; with it, it is of one picture alone."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gan_core.checkpoint import load_model, save_model
from translate.convert.translator import Translator
from translate.data.image import read, write
from translate.data.tensors import to_image, to_tensor
from translate.model import load_network

Command = Callable[..., Any]
Mistake = Callable[..., str]
Contents = Callable[[Path], dict[str, bytes]]

CPU = torch.device("cpu")
NAMES = tuple(f"{number}.png" for number in range(8))
NOISY = ("--stochastic", "--seed")


def noise(height: int, width: int, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng([seed, height, width])
    return rng.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("noisy")


@pytest.fixture
def noisy(shelf: Path, data_of: Callable[..., Any], command: Command) -> Path:
    """A pix2pix model of two steps; its U-Net has one dropout, as its pictures have 64 pixels."""
    run = shelf / "run"
    if not run.exists():
        small = [
            *("networks.generator.filters=4", "networks.generator.init_gain=0.3"),
            *("networks.discriminator.filters=4", "networks.discriminator.layers=1"),
        ]
        outcome = command(
            *("train", "pix2pix", *data_of("pix2pix", shelf), "--out", run),
            *("--size", 64, "--batch-size", 2, "--steps", 2, "--workers", 0),
            *("--device", "cpu", "--precision", "fp32", *(f"--set={key}" for key in small)),
        )
        assert outcome.code == 0
    return run


@pytest.fixture(scope="session")
def source(shelf: Path) -> Path:
    """Eight pictures of a size that the network has to extend."""
    for number, name in enumerate(NAMES):
        write(shelf / "source" / name, noise(20, 44, number))
    return shelf / "source"


@pytest.fixture
def converted(command: Command, contents: Contents, tmp_path: Path) -> Callable[..., Any]:
    """``convert`` to a new folder on a CPU, and all that it wrote."""

    def run(*words: object, precision: str = "fp32") -> dict[str, bytes]:
        target = tmp_path / f"target-{len(list(tmp_path.iterdir()))}"
        model, source, *options = words
        on_cpu = ("--device", "cpu", "--precision", precision)
        outcome = command("convert", model, source, target, *options, *on_cpu)
        assert (outcome.code, outcome.err) == (0, "")
        return contents(target)

    return run


def changed(
    model: Path, path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]
) -> Path:
    """A copy of the model with other tensors or another header."""
    tensors, header = load_model(model / "model.safetensors")
    change(tensors, header)
    save_model(path, tensors, header)
    return path


def statistics(tensors: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    return [tensor for name, tensor in tensors.items() if name.endswith("running_var")]


# -------------------------------------------------------------------------------- unless asked for


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_picture_is_the_same_alone_and_among_others(
    noisy: Path, source: Path, converted: Callable[..., Any], precision: str
) -> None:
    together = converted(noisy, source, precision=precision)
    assert sorted(together) == sorted(NAMES)
    assert len(set(together.values())) == 8
    for batch_size in (1, 3):
        words = (noisy, source, "--batch-size", batch_size)
        assert converted(*words, precision=precision) == together
    for name in NAMES:
        assert converted(noisy, source / name, precision=precision) == {name: together[name]}


def test_it_is_what_the_network_makes_without_dropout(noisy: Path) -> None:
    """With the running statistics: in evaluation, of a picture that needs no extending."""
    tensors, header = load_model(noisy / "model.safetensors")
    net = load_network(noisy, tensors, header, "G").eval()
    assert sum(isinstance(module, nn.Dropout) for module in net.modules()) == 1
    image = noise(64, 128)
    with torch.inference_mode():
        made = net(to_tensor(image)[None])[0]
    found = Translator(net.train(), (3, 3), CPU, "fp32")([image])
    np.testing.assert_array_equal(found[0], to_image(made))
    assert found[0].std() > 10, "neither flat nor dead"


def test_a_seed_alone_changes_nothing(
    noisy: Path, source: Path, converted: Callable[..., Any]
) -> None:
    assert converted(noisy, source, "--seed", 7) == converted(noisy, source)


def test_running_statistics_matter_unless_the_pictures_own_are_used(
    noisy: Path, source: Path, converted: Callable[..., Any], tmp_path: Path
) -> None:
    def widen(tensors: dict[str, Any], _: object) -> None:
        assert len(statistics(tensors)) == 9  # norms of a U-Net of depth 6
        for variance in statistics(tensors):
            variance *= 4

    other = changed(noisy, tmp_path / "other.safetensors", widen)
    plain, same = converted(noisy, source), converted(other, source)
    assert all(plain[name] != same[name] for name in NAMES)
    assert converted(noisy, source, *NOISY, 0) == converted(other, source, *NOISY, 0)


# --------------------------------------------------------------------------------------- asked for


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_seed_gives_each_picture_its_noise_whatever_is_beside_it(
    noisy: Path, source: Path, converted: Callable[..., Any], tmp_path: Path, precision: str
) -> None:
    together = converted(noisy, source, *NOISY, 5, precision=precision)
    assert len(set(together.values())) == 8
    for batch_size in (1, 3):
        words = (noisy, source, *NOISY, 5, "--batch-size", batch_size)
        assert converted(*words, precision=precision) == together
    renamed = {name: f"{7 - number}.png" for number, name in enumerate(NAMES) if number != 3}
    for name, other in renamed.items():
        write(tmp_path / "renamed" / other, read(source / name))
    write(tmp_path / "renamed" / "9.png", noise(64, 64))
    backwards = converted(noisy, tmp_path / "renamed", *NOISY, 5, precision=precision)
    for name, other in renamed.items():
        assert backwards[other] == together[name]
    alone = converted(noisy, source / "3.png", *NOISY, 5, precision=precision)
    assert alone == {"3.png": together["3.png"]}


def test_another_seed_makes_another_picture(
    noisy: Path, source: Path, converted: Callable[..., Any]
) -> None:
    seeds = (0, 1, 2, 2**31, 2**32 - 1)
    made = [converted(noisy, source, *NOISY, seed) for seed in seeds]
    made.append(converted(noisy, source))
    for name in NAMES:
        assert len({pictures[name] for pictures in made}) == len(seeds) + 1
    assert converted(noisy, source, "--stochastic") == made[0]


def test_equal_pictures_have_equal_noise(
    noisy: Path, converted: Callable[..., Any], tmp_path: Path
) -> None:
    for name in ("a.png", "sub/b.png"):
        write(tmp_path / "twins" / name, noise(30, 30))
    made = converted(noisy, tmp_path / "twins", *NOISY, 0)
    assert made["a.png"] == made["sub/b.png"]


@pytest.mark.parametrize("options", [(), ("--at", 0), (*NOISY, 0), (*NOISY, 0, "--at", 0)], ids=str)
def test_any_size_comes_back(
    noisy: Path, converted: Callable[..., Any], tmp_path: Path, options: tuple[object, ...]
) -> None:
    sizes = [(1, 1), (1, 50), (70, 1), (3, 7), (64, 64), (65, 40), (130, 3), (63, 129)]
    for number, size in enumerate(sizes):
        write(tmp_path / "in" / f"{number}.tiff", noise(*size, dtype=np.uint16))
        write(tmp_path / "in" / f"{number}.png", noise(*size))
    made = converted(noisy, tmp_path / "in", *options)
    for name in made:
        (tmp_path / name).write_bytes(made[name])
        before, after = read(tmp_path / "in" / name), read(tmp_path / name)
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
    assert len(made) == 2 * len(sizes)


def test_noise_is_dropout_of_the_pictures_own_statistics() -> None:
    """Half of all values are dropped, the others doubled, after the norm by mean and variance."""
    norm = nn.BatchNorm2d(3, affine=False, eps=1e-9)
    state = {key: value.clone() for key, value in norm.state_dict().items()}
    net = nn.Sequential(norm, nn.Dropout(0.5))
    image = (noise(40, 40) // 2 + 60).astype(np.uint8)
    values = image / 127.5 - 1
    normalised = (values - values.mean((0, 1))) / values.std((0, 1))
    kept = np.rint((np.clip(2 * normalised, -1, 1) + 1) * 127.5)
    shown = Translator(net, (3, 3), CPU, "fp32", noise=0)([image, noise(40, 40, 1)])[0]
    dropped = shown == 128  # rint(127.5): nothing
    np.testing.assert_allclose(shown[~dropped], kept[~dropped], atol=1)
    assert (kept == 128).mean() < 0.01
    assert 0.5 - 0.036 < dropped.mean() < 0.5 + 0.046  # five standard errors, and what is 128
    for key in ("running_mean", "running_var"):
        assert torch.equal(norm.state_dict()[key], state[key])


def test_the_noise_is_of_seed_and_picture() -> None:
    """Which values are dropped, of pictures that begin alike; and the same ones at every call."""
    image = (noise(40, 40) // 2).astype(np.uint8)  # nothing is shown as 0 is
    other = image.copy()
    other[-1, -1] += 1
    dropped = {}
    for seed in (0, 1):
        translator = Translator(nn.Dropout(0.5), (3, 3), CPU, "fp32", noise=seed)
        one, two, again = translator([image, other, image])
        np.testing.assert_array_equal(one, again)
        np.testing.assert_array_equal(one, translator([image])[0])
        dropped[seed, "one"], dropped[seed, "two"] = one == 128, two == 128
    masks = list(dropped.values())
    for i, mask in enumerate(masks):
        assert 0.46 < mask.mean() < 0.54
        for different in masks[:i]:
            assert 0.46 < (mask != different).mean() < 0.54


# ---------------------------------------------------------------------------------------- mistakes


def test_a_model_without_dropout_has_no_noise(
    noisy: Path, model: Path, source: Path, mistake: Mistake, tmp_path: Path
) -> None:
    """A CycleGAN, and a pix2pix model that was trained without."""

    def without(_: object, header: dict[str, Any]) -> None:
        header["networks"]["G"]["arguments"]["dropout"] = False

    plain = changed(noisy, tmp_path / "plain.safetensors", without)
    says = ("this model's network has no dropout", "--stochastic has no noise")
    for path in (model, plain):
        words = ("convert", path, source, tmp_path / "out", "--device", "cpu")
        mistake(*words, "--stochastic", says=says)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", [-1, 2**32, "one"])
def test_seeds_that_are_none(noisy: Path, source: Path, command: Command, seed: object) -> None:
    """Beyond 32 bits seeds would meet those that are smaller by 2**32."""
    outcome = command("convert", noisy, source, "out", *NOISY, seed)
    assert outcome.code == 2
    assert "--seed" in outcome.err
    assert "Traceback" not in outcome.err


def test_the_model_is_all_that_is_needed(
    noisy: Path, source: Path, converted: Callable[..., Any], tmp_path: Path
) -> None:
    shutil.copy(noisy / "model.safetensors", tmp_path / "elsewhere")
    words = (source / "0.png", *NOISY, 0)
    assert converted(tmp_path / "elsewhere", *words) == converted(noisy, *words)
