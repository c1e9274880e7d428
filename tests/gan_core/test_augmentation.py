"""Augmentation: amounts, distributions, independence of samples, gradient, shapes, mistakes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core import distributed, sampling
from gan_core.augmentation import POLICIES, augment

NAMES = sorted(POLICIES)
SHAPES = [(4, 1, 16, 16), (4, 3, 16, 32), (4, 4, 32, 16), (1, 3, 17, 19)]


def pictures(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1


def applied(x: Tensor, *policies: str, p: float | Tensor = 1.0, seed: int = 1) -> Tensor:
    sampling.seed(seed)
    return augment(x, policies, p)


def copies(picture: Tensor, count: int) -> Tensor:
    return picture.expand(count, *picture.shape[1:])


# Colour: what was drawn is read off one picture's own numbers.


def drawn(before: Tensor, after: Tensor) -> np.ndarray:
    """[B, 3]: brightness, saturation, contrast of each sample, by the definitions' algebra.

    Differences of a pixel's colours are scaled by saturation and contrast, their mean by contrast
    alone, about the picture's mean, which brightness alone moves.
    """
    x, y = before.numpy(), after.numpy()
    x_grey, y_grey = x.mean(1), y.mean(1)
    brightness = y.mean((1, 2, 3)) - x.mean((1, 2, 3))
    contrast = y_grey.std((1, 2)) / x_grey.std((1, 2))
    both = (y - y_grey[:, None]).std((1, 2, 3)) / (x - x_grey[:, None]).std((1, 2, 3))
    return np.stack([brightness, both / contrast, contrast], 1)


def test_colour_is_brightness_saturation_and_contrast_of_each_sample() -> None:
    x = pictures(6, 3, 16, 24)
    y = applied(x, "colour")
    brightness, saturation, contrast = (d[:, None, None, None] for d in drawn(x, y).T)
    expected = x.numpy() + brightness
    grey = expected.mean(1, keepdims=True)
    expected = grey + saturation * (expected - grey)
    mean = expected.mean((1, 2, 3), keepdims=True)
    expected = mean + contrast * (expected - mean)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)


def test_colours_are_drawn_uniformly_and_independently() -> None:
    """b in [-1/2, 1/2), s in [0, 2), c in [1/2, 3/2): moments within four standard errors."""
    count = 4000
    x = copies(pictures(1, 3, 4, 4), count)
    found = drawn(x, applied(x, "colour"))
    for values, low, high in zip(found.T, (-0.5, 0.0, 0.5), (0.5, 2.0, 1.5), strict=True):
        width = high - low
        assert low - 1e-9 <= values.min() < low + 0.005 * width
        assert high - 0.005 * width < values.max() <= high + 1e-9
        assert abs(values.mean() - (low + high) / 2) < 4 * width / (12 * count) ** 0.5
        assert values.std() == pytest.approx(width / 12**0.5, rel=0.05)
    correlations = np.corrcoef(found.T)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 4 / count**0.5


def test_grey_has_no_saturation() -> None:
    x = pictures(5, 1, 8, 8)
    y = applied(x, "colour").numpy()
    contrast = y.std((1, 2, 3)) / x.numpy().std((1, 2, 3))
    assert contrast.min() >= 0.5
    assert contrast.max() <= 1.5


def test_alpha_is_no_colour_but_has_a_place() -> None:
    x = pictures(4, 4, 16, 16)
    y = applied(x, "colour")
    assert y[:, 3].equal(x[:, 3])
    assert y[:, :3].equal(applied(x[:, :3], "colour"))
    moved = applied(x, "translation", "cutout")
    assert not moved[:, 3].equal(x[:, 3])
    assert moved[:, 3:].equal(applied(x[:, 3:], "translation", "cutout"))


# Places.


def shifts(y: Tensor, x: Tensor, down: int, right: int) -> list[tuple[int, int]]:
    """For every sample the one shift within the bounds by which y is x, zeros coming in."""
    height, width = x.shape[2:]
    found = []
    for sample, picture in zip(y.numpy(), x.numpy(), strict=True):
        fits = []
        for dy in range(-down, down + 1):
            for dx in range(-right, right + 1):
                moved = np.zeros_like(picture)
                moved[:, max(dy, 0) : height + dy, max(dx, 0) : width + dx] = picture[
                    :, max(-dy, 0) : height - dy, max(-dx, 0) : width - dx
                ]
                if np.array_equal(moved, sample):
                    fits.append((dy, dx))
        assert len(fits) == 1
        found += fits
    return found


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 24), (33, 9), (8, 7)])
def test_translation_moves_by_up_to_an_eighth(height: int, width: int) -> None:
    """Every shift of the range, each sample its own; nothing but 0 comes in."""
    down, right = height // 8, width // 8
    count = 30 * (2 * down + 1) * (2 * right + 1)
    x = copies(pictures(1, 2, height, width), count)
    found = shifts(applied(x, "translation"), x, down, right)
    wanted = {(dy, dx) for dy in range(-down, down + 1) for dx in range(-right, right + 1)}
    times = [found.count(pair) for pair in wanted]
    assert min(times) >= 8, "30 are expected of each"
    assert max(times) <= 60


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 12), (9, 7)])
def test_cutout_empties_a_half_by_half_rectangle(height: int, width: int) -> None:
    """Its middle is anywhere in the picture: the part that lies outside is not made up for."""
    x = copies(torch.ones(1, 2, height, width), 3000)
    holes = (applied(x, "cutout") == 0).numpy()
    assert (holes[:, 0] == holes[:, 1]).all()
    spans = []
    for axis, size in ((2, height), (1, width)):
        lines = holes[:, 0].any(axis)  # [B, size]: where along this side the hole is
        first, lengths = lines.argmax(1), lines.sum(1)
        for line, start, length in zip(lines[:100], first, lengths, strict=False):
            assert line[start : start + length].all(), "one piece"
        whole = (first > 0) & (first + lengths < size)
        assert (lengths[whole] == size // 2).all()
        half = (size // 2 + 1) // 2  # what is left where the middle is at the border
        assert set(lengths) == set(range(half, size // 2 + 1))
        spans.append(lengths)
    assert (holes[:, 0].sum((1, 2)) == spans[0] * spans[1]).all(), "a rectangle"
    often = holes[:, 0].mean(0)
    np.testing.assert_allclose(often, often[::-1, ::-1], atol=0.05)  # no side is favoured


def test_cutout_places_are_uniform() -> None:
    """8 wide, a hole of 4: its middle is one of the 9 borders of pixels, each as often."""
    x = torch.ones(9000, 1, 8, 8)
    rows = (applied(x, "cutout") == 0).numpy()[:, 0].any(2)
    count = np.array([np.packbits(row)[0] for row in rows])
    holes = [np.packbits([max(m - 2, 0) <= i < m + 2 for i in range(8)])[0] for m in range(9)]
    assert set(count) == set(holes)
    times = np.array([(count == hole).sum() for hole in holes])
    assert ((times - 1000) ** 2 / 1000).sum() < 30, "chi squared with 8 degrees, 99.98 %"


# What holds for all.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_and_type_stay(name: str, shape: tuple[int, ...]) -> None:
    for dtype in (torch.float32, torch.float64):
        y = applied(pictures(*shape, dtype=dtype), name)
        assert y.shape == shape
        assert y.dtype == dtype
        assert y.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_augmented_apart(name: str) -> None:
    x = copies(pictures(1, 3, 16, 16), 8)
    y = applied(x, name)
    assert len({sample.numpy().tobytes() for sample in y}) >= 6
    other = x.clone()
    other[3] = pictures(3, 16, 16, seed=5)
    z = applied(other, name)
    same = [z[i].equal(y[i]) for i in range(8)]
    assert same == [i != 3 for i in range(8)], "no sample sees another"


@pytest.mark.parametrize("name", NAMES)
def test_a_step_can_be_done_again(name: str) -> None:
    x = pictures(4, 3, 16, 16)
    assert applied(x, name).equal(applied(x, name))
    assert not applied(x, name).equal(applied(x, name, seed=2))


def test_several_processes_augment_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pictures(16, 3, 16, 16)
    whole = applied(x, *NAMES, p=0.5)
    monkeypatch.setattr(distributed, "world", lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(applied(x[8 * rank :][:8], *NAMES, p=0.5))
    assert torch.cat(parts).equal(whole)


def test_policies_follow_each_other_as_given() -> None:
    x = pictures(4, 3, 16, 16)
    sampling.seed(1)
    expected = augment(augment(x, ["cutout"]), ["colour"])
    assert applied(x, "cutout", "colour").equal(expected)
    assert not applied(x, "colour", "cutout").equal(expected)


@pytest.mark.parametrize("name", NAMES)
def test_probability(name: str) -> None:
    """Each sample is changed with probability p, wholly or not at all."""
    x = copies(pictures(1, 3, 16, 16), 2000)
    assert applied(x, name, p=0.0).equal(x)
    always = applied(x, name, p=1.0)
    some = applied(x, name, p=0.3)
    touched = (some != x).flatten(1).any(1)
    assert some[touched].equal(always[touched]), "p decides whether, not how"
    chances = 0.3 * (always != x).flatten(1).any(1).double().mean().item()
    assert abs(touched.double().mean().item() - chances) < 4 * (0.25 / 2000) ** 0.5
    assert applied(x, name, p=torch.tensor(0.3)).equal(some)


def test_policies_are_chosen_independently() -> None:
    x = pictures(1, 1, 8, 8).expand(4000, 1, 8, 8)
    y = applied(x, "colour", "cutout", p=0.5)
    cut = (y == 0).flatten(1).any(1)
    kept = (y == x) | (y == 0)
    coloured = ~kept.flatten(1).all(1)
    for event in (cut & coloured, cut & ~coloured, ~cut & coloured, ~cut & ~coloured):
        assert 0.2 < event.double().mean() < 0.3


def test_no_policies_no_change() -> None:
    x = pictures(2, 3, 8, 8)
    assert augment(x, ()).equal(x)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_the_pictures(name: str) -> None:
    x = pictures(1, 4, 8, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: applied(x, name), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: applied(x, name), x, fast_mode=True)


def test_gradient_of_a_hole_and_of_what_was_moved_out_is_zero() -> None:
    x = pictures(8, 2, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(applied(x, "cutout").sum(), x)
    assert set(gradient.unique().tolist()) == {0.0, 1.0}
    y = applied(x, "translation")
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert set(gradient.unique().tolist()) == {0.0, 1.0}
    assert gradient.sum() == (y != 0).sum()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computes_in_float32(dtype: torch.dtype) -> None:
    x = pictures(4, 3, 16, 16, dtype=torch.float32).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = applied(x, *NAMES)
    assert y.dtype == torch.float32
    assert y.equal(applied(x.float(), *NAMES))


def test_shapes_alone() -> None:
    x = torch.empty(4, 3, 16, 24, device="meta", requires_grad=True)
    y = applied(x, *NAMES, p=0.5)
    assert y.shape == x.shape
    y.sum().backward()
    assert x.grad is not None


MISTAKES: list[tuple[Callable[[], Tensor], str]] = [
    (lambda: augment(torch.zeros(4, 2), ["colour"]), r"only pictures \[B, C, H, W\].*\[4, 2\]"),
    (lambda: augment(torch.zeros(4, 3, 8, 8), ["color"]), "'color': choose colour, translation"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES)
def test_mistakes_are_named(mistake: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()
