from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from translate.data.domains import FIGURES
from translate.data.points import Points
from translate.data.tensors import to_tensor
from translate.pictures import grid, sheet
from translate.samples import judge, made, sample_grid, settle

CPU = torch.device("cpu")


class Inverse(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        self.largest = max(getattr(self, "largest", 0), len(x))
        return -x


class Both:
    """What CycleGAN makes, with any networks."""

    grid = ("x", "made y", "y", "made x")

    def made(self, nets: Any, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        return {"y": nets["G"](batch["x"]), "x": nets["F"](batch["y"])}


class Plain:
    """A layout whose tensors are pictures."""

    names = {"x": "drawings", "y": "paintings"}  # noqa: RUF012
    figures = {"swd": FIGURES["swd"]}  # noqa: RUF012

    def picture(self, key: str, images: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return images

    def sheet(self, rows: Mapping[str, Tensor]) -> np.ndarray:
        return sheet(rows)


class Darker(Plain):
    """Its pictures can be told only with their batch, as colours with their lightness."""

    def picture(self, key: str, images: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        self.asked = (*getattr(self, "asked", ()), (key, len(images)))
        return images / 2 + batch["x"] / 4 if key == "y" else images


class Drawing:
    """A system that draws from noise, and redraws what it is shown."""

    grid = ("image", "made again", "made image")

    def made(self, nets: Any, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        image = batch["image"]
        return {"image": nets["G"](torch.randn(image.shape, generator=generator)), "again": image}


def flat(value: int, size: int = 4, channels: int = 3) -> np.ndarray:
    return np.full((size, size, channels), value, np.uint8)


def noise(count: int, size: int = 16, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, size, size, generator=generator) * 2 - 1


def made_by(G: nn.Module, F: nn.Module, batch: Any, precision: str = "fp32") -> dict[str, Tensor]:
    nets: Any = {"G": G, "F": F}
    return made(Both(), Plain(), nets, batch, CPU, precision)  # type: ignore[arg-type]


def judged(pictures: Any, batch: Any) -> dict[str, float]:
    return judge(Plain(), pictures, batch)  # type: ignore[arg-type]


def test_a_few_pictures_at_a_time() -> None:
    net, images = Inverse(), noise(19).requires_grad_()
    pictures = made_by(net, nn.Identity(), {"x": images, "y": noise(19, seed=1)})
    assert net.largest == 8
    assert torch.equal(pictures["y"], -images)
    assert not pictures["y"].requires_grad


def test_a_layout_is_asked_for_all_pictures_at_once() -> None:
    """With the rows of the batch that they were made of."""
    layout, nets = Darker(), {"G": Inverse(), "F": Inverse()}
    batch = {"x": noise(12), "y": noise(11, seed=1)}
    pictures = made(Both(), layout, nets, batch, CPU, "fp32")  # type: ignore[arg-type]
    assert sorted(layout.asked) == [("x", 11), ("y", 11)]
    torch.testing.assert_close(pictures["y"], -batch["x"][:11] / 4)
    assert torch.equal(pictures["x"], -batch["y"])


def test_noise_is_the_same_at_every_call_and_another_for_every_picture() -> None:
    def drawn(count: int) -> Tensor:
        batch = {"image": noise(count)}
        return made(Drawing(), Plain(), {"G": nn.Identity()}, batch, CPU, "fp32")["image"]  # type: ignore[arg-type]

    pictures = drawn(20)
    assert torch.equal(pictures[:16], drawn(16))
    assert len({picture.numpy().tobytes() for picture in pictures}) == 20


def test_pictures_are_float32_whatever_they_are_computed_in() -> None:
    torch.manual_seed(0)
    net, batch = nn.Conv2d(3, 3, 3), {"x": noise(2), "y": noise(2)}
    exact, near = (made_by(net, net, batch, precision)["y"] for precision in ("fp32", "bf16"))
    assert near.dtype == torch.float32
    assert 0 < (exact - near).abs().max() < 0.05


def test_the_grid_has_a_row_for_each_that_the_method_names() -> None:
    batch = {
        "x": torch.stack([to_tensor(flat(value)) for value in (0, 100, 7)]),
        "y": torch.stack([to_tensor(flat(value)) for value in (200, 50, 7)]),
    }
    pictures = made_by(Inverse(), nn.Identity(), batch)
    sheet = sample_grid(Both(), Plain(), pictures, batch, 2)  # type: ignore[arg-type]
    assert sheet.shape == (4 * 4 + 3 * 2, 2 * 4 + 2, 3)
    rows = [[sheet[row + 1, column + 1, 0] for column in (0, 6)] for row in (0, 6, 12, 18)]
    assert rows == [[0, 100], [255, 155], [200, 50], [200, 50]]
    assert (sheet[4:6] == 255).all()
    assert (sheet[:, 4:6] == 255).all()


def test_grey_and_colour_in_one_grid() -> None:
    sheet = grid([[flat(10, 4, 1), flat(20, 6, 3)], [flat(30, 2, 4)]])
    assert sheet.shape == (6 + 2 + 6, 6 + 2 + 6, 4)
    np.testing.assert_array_equal(sheet[0, 0], [10, 10, 10, 255])
    np.testing.assert_array_equal(sheet[0, 8], [20, 20, 20, 255])
    np.testing.assert_array_equal(sheet[5, 0], [255] * 4)  # white below a smaller one
    np.testing.assert_array_equal(sheet[9, 1], [30] * 4)
    np.testing.assert_array_equal(sheet[8, 8], [255] * 4)  # an empty place


def test_a_translation_that_makes_the_other_domain_scores_near_zero() -> None:
    """x is y turned around: turning it back makes y itself, and leaving it does not."""
    y = noise(8).cumsum(2).cumsum(3) / 60  # smooth, and lighter to one side
    batch = {"x": -y, "y": y}
    perfect = judged(made_by(Inverse(), Inverse(), batch), batch)
    idle = judged(made_by(nn.Identity(), nn.Identity(), batch), batch)
    assert perfect.keys() == idle.keys() == {"swd drawings", "swd paintings"}
    for key in perfect:
        assert 0 < perfect[key] < 0.7 * idle[key] < 2000


@pytest.mark.parametrize(("size", "counts"), [(16, (3, 5)), (8, (5, 3)), (12, (1, 1))])
def test_unequal_counts_and_small_pictures(size: int, counts: tuple[int, int]) -> None:
    batch = {"x": noise(counts[0], size), "y": noise(counts[1], size, seed=1)}
    pictures = made_by(nn.Identity(), nn.Identity(), batch)
    assert len(pictures["x"]) == len(pictures["y"]) == min(counts)
    assert 0 < judged(pictures, batch)["swd paintings"] < 2000


def test_pictures_of_other_sizes_are_not_compared() -> None:
    batch = {"x": noise(2, 16), "y": noise(2, 20)}
    assert judged(made_by(nn.Identity(), nn.Identity(), batch), batch) == {}


def test_what_has_no_likeness_in_the_batch_is_shown_and_not_judged() -> None:
    """A reconstruction is no draw from the distribution; what is drawn is judged by the batch."""
    layout, batch = Plain(), {"image": noise(9), "label": torch.zeros(9, dtype=torch.long)}
    layout.names = {"image": "faces"}
    pictures = made(Drawing(), layout, {"G": Inverse()}, batch, CPU, "fp32")  # type: ignore[arg-type]
    assert torch.equal(pictures["again"], batch["image"])
    assert judge(layout, pictures, batch).keys() == {"swd faces"}  # type: ignore[arg-type]
    shown = sample_grid(Drawing(), layout, pictures, batch, 3)  # type: ignore[arg-type]
    assert shown.shape == (3 * 16 + 2 * 2, 3 * 16 + 2 * 2, 3)
    np.testing.assert_array_equal(shown[:16], shown[18:34])
    assert (shown[:16] != shown[36:]).any()


def test_points_are_drawn_and_judged_too() -> None:
    layout = Points(distribution="8gaussians", points=40)
    batch = {"image": torch.stack([row["image"] for row in map(loaded(layout), range(40))])}
    pictures = made(Drawing(), layout, {"G": nn.Identity()}, batch, CPU, "fp32")  # type: ignore[arg-type]
    figures = judge(layout, pictures, batch)
    assert figures.keys() == {"modes 8gaussians", "quality 8gaussians", "wasserstein 8gaussians"}
    shown = sample_grid(Drawing(), layout, pictures, batch, 30)  # type: ignore[arg-type]
    few = sample_grid(Drawing(), layout, pictures, batch, 3)  # type: ignore[arg-type]
    assert shown.shape == few.shape == (512, 512, 3)
    assert (shown < 255).any(2).sum() > 5 * (few < 255).any(2).sum() > 0


def loaded(layout: Points) -> Callable[[int], dict[str, Tensor]]:
    (stream,) = layout.held_out
    return lambda number: stream.load(stream.entries[number], None)


def test_figures_of_pairs_by_hand() -> None:
    real, black = torch.ones(2, 3, 16, 16), -torch.ones(2, 3, 16, 16)
    assert FIGURES["l1"](real, black) == 1.0
    assert FIGURES["l1"](real, real) == 0.0
    assert FIGURES["ssim"](noise(2), noise(2)) == pytest.approx(1.0, abs=1e-6)
    # two constants: (2 m n + c) / (m^2 + n^2 + c) with c = 0.01^2, m = 1, n = 0
    assert FIGURES["ssim"](real, black) == pytest.approx(1e-4 / (1 + 1e-4), rel=1e-3)


# ---- batch-norm statistics -----------------------------------------------------------------------


class Fixed:
    """A data set of given batches."""

    def __init__(self, batches: list[Tensor]) -> None:
        self.batches = batches

    def first(self, count: int, size: int) -> Any:
        images = torch.cat(self.batches).repeat(count, 1, 1, 1)
        yield from ({"x": images[i : i + size]} for i in range(0, count, size))


class Forth:
    def made(self, nets: Any, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        return {"y": nets["G"](batch["x"])}


def settled(net: nn.Module, batches: list[Tensor]) -> None:
    settle(Forth(), {"G": net}, Fixed(batches), CPU, "fp32")  # type: ignore[arg-type]


def test_statistics_are_those_of_the_pictures() -> None:
    """Of batches of one, with equal means inside 16 at a time: the mean and the whole variance."""
    images = [noise(1, 4, seed=i) + i % 16 for i in range(128)]
    norm = nn.BatchNorm2d(3).eval()
    settled(norm, images)
    sixteens = torch.cat(images).unflatten(0, (8, 16)).transpose(1, 2).flatten(2)  # [8, 3, 256]
    torch.testing.assert_close(norm.running_mean, sixteens.mean(2).mean(0))
    torch.testing.assert_close(norm.running_var, sixteens.var(2).mean(0))
    assert norm.running_var.min() > 20, "the variance between pictures counts"
    assert norm.momentum == 0.1
    assert not norm.training


def test_nothing_is_run_without_batch_norms() -> None:
    net = Inverse()
    settled(net, [noise(1)])
    assert not hasattr(net, "largest")


def test_dropout_is_off_while_statistics_are_estimated() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3)).eval()
    settled(net, [torch.ones(16, 3, 4, 4)])
    torch.testing.assert_close(net[1].running_mean, torch.ones(3))
    torch.testing.assert_close(net[1].running_var, torch.zeros(3))
