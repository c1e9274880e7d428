import numpy as np
import pytest
import torch
from torch import Tensor, nn

from translate.data.tensors import to_tensor
from translate.pictures import grid
from translate.samples import apply, judge, sample_grid

CPU = torch.device("cpu")


class Inverse(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        self.largest = max(getattr(self, "largest", 0), len(x))
        return -x


def flat(value: int, size: int = 4, channels: int = 3) -> np.ndarray:
    return np.full((size, size, channels), value, np.uint8)


def noise(count: int, size: int = 16, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, size, size, generator=generator) * 2 - 1


def test_a_few_pictures_at_a_time() -> None:
    net, images = Inverse(), noise(7).requires_grad_()
    made = apply(net, images, "fp32", batch=3)
    assert net.largest == 3
    assert torch.equal(made, -images)
    assert not made.requires_grad


def test_pictures_are_float32_whatever_they_are_computed_in() -> None:
    torch.manual_seed(0)
    net = nn.Conv2d(3, 3, 3)
    exact, near = (apply(net, noise(2), precision) for precision in ("fp32", "bf16"))
    assert near.dtype == torch.float32
    assert 0 < (exact - near).abs().max() < 0.05


def test_the_grid_shows_what_went_in_above_what_came_out() -> None:
    batch = {
        "x": torch.stack([to_tensor(flat(value)) for value in (0, 100)]),
        "y": torch.stack([to_tensor(flat(value)) for value in (200, 50)]),
    }
    nets = {"G": Inverse(), "F": nn.Identity()}
    sheet = sample_grid(nets, {"G": ("x", "y"), "F": ("y", "x")}, batch, "fp32")
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
    held_out = {"x": -y, "y": y}
    translations = {"G": ("x", "y"), "F": ("y", "x")}
    perfect = judge({"G": Inverse(), "F": Inverse()}, translations, held_out, CPU, "fp32")
    idle = judge({"G": nn.Identity(), "F": nn.Identity()}, translations, held_out, CPU, "fp32")
    assert perfect.keys() == idle.keys() == {"x", "y"}
    for key in "xy":
        assert 0 < perfect[key] < 0.7 * idle[key] < 2000


@pytest.mark.parametrize(("size", "counts"), [(16, (3, 5)), (8, (5, 3)), (12, (1, 1))])
def test_unequal_counts_and_small_pictures(size: int, counts: tuple[int, int]) -> None:
    held_out = {"x": noise(counts[0], size), "y": noise(counts[1], size, seed=1)}
    figures = judge({"G": nn.Identity()}, {"G": ("x", "y")}, held_out, CPU, "fp32")
    assert 0 < figures["y"] < 2000


def test_pictures_of_other_sizes_are_not_compared() -> None:
    held_out = {"x": noise(2, 16), "y": noise(2, 20)}
    assert judge({"G": nn.Identity()}, {"G": ("x", "y")}, held_out, CPU, "fp32") == {}
