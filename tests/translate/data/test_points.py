"""Distributions by their moments and densities, figures by clouds whose values are known."""

import pickle
from functools import cache
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core import distributed
from translate.data.dataset import DataSet
from translate.data.points import DISTRIBUTIONS, GREY, LIMIT, SIDE, Points
from translate.schema import keywords

MIXTURES = {"8gaussians": (8, 0.02 / 1.414), "25gaussians": (25, 0.05 / 2.828)}


@cache
def all_of(distribution: Any, points: int = 10_000) -> np.ndarray:
    """The points to train on, in float64."""
    data = DataSet(Points(distribution=distribution, points=points), 0, batch_size=points)
    return data[0].batch["image"].double().numpy()


def centres(distribution: str) -> np.ndarray:
    """Written down by hand: 2 / 1.414 and its diagonal's share; multiples of 2 / 2.828."""
    if distribution == "25gaussians":
        steps = [-4 / 2.828, -2 / 2.828, 0.0, 2 / 2.828, 4 / 2.828]
        return np.array([(x, y) for x in steps for y in steps])
    far = 2 / 1.414
    near = far / np.sqrt(2)
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    return np.array(
        [(far, 0), (-far, 0), (0, far), (0, -far), *((near * a, near * b) for a, b in signs)]
    )


@pytest.mark.parametrize(("name", "count", "sigma"), [(n, *m) for n, m in MIXTURES.items()])
def test_gaussians_of_equal_sizes_around_their_centres(name: str, count: int, sigma: float) -> None:
    points, middles = all_of(name), centres(name)
    away = points[:, None] - middles
    nearest = np.square(away).sum(2).argmin(1)
    assert np.bincount(nearest).tolist() == [10_000 // count] * count
    offsets = away[np.arange(10_000), nearest] / sigma
    assert np.abs(offsets.mean(0)).max() < 0.05  # five standard errors
    np.testing.assert_allclose(np.cov(offsets.T), np.eye(2), atol=0.06)
    assert 0.983 < (np.square(offsets).sum(1) < 9).mean() < 0.994  # 1 - exp(-9 / 2) = 0.989


def test_a_gaussian_more_where_they_cannot_be_of_equal_sizes() -> None:
    points, middles = all_of("25gaussians", 60), centres("25gaussians")
    nearest = np.square(points[:, None] - middles).sum(2).argmin(1)
    assert sorted(np.bincount(nearest, minlength=25).tolist()) == [2] * 15 + [3] * 10


def test_the_roll_by_its_curve() -> None:
    """Radius and angle go together, one and a half turns of them, evenly; noise all around."""
    points = all_of("swissroll") * 7.5
    radius, angle = np.hypot(*points.T), np.arctan2(points[:, 1], points[:, 0])
    t = angle + 2 * np.pi * np.round((radius - angle) / (2 * np.pi))  # the turn that it lies on
    inside = (t > 5.5) & (t < 13.3)
    off = radius - t
    assert 0.23 < off[inside].std() < 0.27
    assert -0.02 < off[inside].mean() < 0.02
    counts = np.histogram(t[inside], 6, (5.5, 13.3))[0]
    expected = 10_000 * 1.3 / (3 * np.pi)
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    assert 1.5 * np.pi - 1 < radius.min() < 1.5 * np.pi
    assert 4.5 * np.pi < radius.max() < 4.5 * np.pi + 1


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_spread_is_about_one(name: str) -> None:
    deviations = all_of(name).std(0)
    assert ((deviations > 0.85) & (deviations < 1.02)).all()


def test_every_distribution_can_be_chosen() -> None:
    assert set(get_args(get_type_hints(Points.__init__)["distribution"])) == set(DISTRIBUTIONS)
    assert keywords(Points).keys() == {"distribution", "points"}, "no pictures are prepared"


# ------------------------------------------------------------------------------------- the data set


def test_points_are_the_same_in_every_run_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another seed shuffles them otherwise; processes take their shares of one batch."""
    layout = Points(distribution="swissroll", points=60)
    data, other = (
        DataSet(layout, 0, batch_size=20),
        DataSet(Points(**said(layout)), 1, batch_size=20),
    )
    batches = [data[at].batch["image"] for at in range(6)]
    for epoch in (batches[:3], batches[3:]):
        assert sorted(torch.cat(epoch).tolist()) == sorted(
            torch.cat([other[at].batch["image"] for at in range(3)]).tolist()
        )
    assert not torch.equal(batches[0], batches[3])
    assert not torch.equal(batches[0], other[0].batch["image"])
    assert torch.equal(pickle.loads(pickle.dumps(data))[4].batch["image"], batches[4])
    monkeypatch.setattr(distributed, "world", lambda: 2)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append(DataSet(Points(**said(layout)), 0, batch_size=20)[4].batch["image"])
    assert torch.equal(torch.cat(shares), batches[4])


def said(layout: Points) -> dict[str, Any]:
    """The recipe keys of a layout."""
    return {"distribution": layout.title[0], "points": len(layout.streams[0].entries)}


def test_what_training_wants() -> None:
    layout = Points(distribution="25gaussians", points=50)
    data = DataSet(layout, 0, batch_size=10)
    batch = data[0].batch
    assert batch.keys() == {"image"}
    assert batch["image"].shape == (10, 2)
    assert batch["image"].dtype == torch.float32
    assert data.batches_per_epoch() == 5
    assert data.counts() == {"25gaussians": 50}
    assert layout.channels == Points.channels_of({}) == {"image": 2}
    assert Points.blank({})["image"].shape == (2, 2)
    assert (layout.names, layout.title) == ({"image": "25gaussians"}, ("25gaussians",))
    assert layout.header({}) == {"distribution": "25gaussians"}
    assert torch.equal(layout.picture("image", batch["image"], {}), batch["image"])
    assert not layout.keeps_sizes
    assert not layout.squares
    assert data.thin() == []


def test_points_to_judge_by_are_others_of_all_gaussians() -> None:
    """A few of them too, which are spread over the order in which they were drawn."""
    layout = Points(distribution="25gaussians", points=10_000)
    data = DataSet(layout, 0, validation_share=0.2)
    assert data.judges
    assert data.counts() == {"25gaussians": 10_000}
    held = data.held_out_batch(400)["image"]
    assert layout.figures["modes"](held, held) == 25
    trained = {tuple(row) for row in all_of("25gaussians").tolist()}
    assert trained.isdisjoint(map(tuple, held.double().tolist()))


def test_no_points_are_refused() -> None:
    with pytest.raises(ValueError, match="points must be 1 or more, not 0"):
        Points(points=0)


# ------------------------------------------------------------------------------------------ figures


def figures(name: Any, made: Tensor) -> dict[str, float]:
    real = torch.from_numpy(all_of(name, 2_000)).float()
    return {
        key: figure(real, made)
        for key, figure in Points(distribution=name, points=10).figures.items()
    }


@pytest.mark.parametrize(("name", "count", "sigma"), [(n, *m) for n, m in MIXTURES.items()])
def test_modes_and_quality_by_hand(name: str, count: int, sigma: float) -> None:
    """All at 3 sigma but a hair, then beyond; one centre alone; one that has too few."""
    middles = torch.from_numpy(centres(name)).float()
    way = torch.tensor([0.6, 0.8])
    for times, modes, quality in ((2.99, count, 1.0), (3.01, 0, 0.0)):
        found = figures(name, middles.repeat(40, 1) + times * sigma * way)
        assert (found["modes"], found["quality"]) == (modes, quality)
    assert figures(name, middles[:1].repeat(40, 1))["modes"] == 1
    share = 1 / (10 * count)  # of all points: what a centre must have
    for times, modes in ((0.98, 1), (1.02, 2)):
        few = round(10_000 * share * times)
        clouds = middles[0].repeat(10_000 - few, 1), middles[1].repeat(few, 1)
        assert figures(name, torch.cat(clouds))["modes"] == modes
    half = torch.cat([middles, middles + 10])
    assert figures(name, half)["quality"] == 0.5


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_distance_of_a_shift_is_its_mean_shadow(name: Any) -> None:
    """Projections all move by s cos: 2 s / pi on average, exactly, whatever the points' order."""
    real = torch.from_numpy(all_of(name, 2_000)).float()
    distance = Points(distribution=name, points=10).figures["wasserstein"]
    assert distance(real, real.flip(0)) < 1e-6
    for way in ((3.0, 0.0), (0.0, -3.0), (1.8, 2.4)):
        shifted = distance(real, real + torch.tensor(way))
        assert shifted == pytest.approx(3 * 2 / np.pi, rel=1e-3)
    assert 0 < distance(real, torch.from_numpy(all_of(name, 500)).float() * 1.1) < 0.3


def test_the_roll_has_no_modes() -> None:
    assert Points(distribution="swissroll", points=10).figures.keys() == {"wasserstein"}


# ------------------------------------------------------------------------------------------- sheets


def place(x: float, y: float) -> tuple[int, int]:
    """Row and column of the pixel at a point."""
    half = SIDE / 2
    return round(half - y / LIMIT * half - 0.5), round(half + x / LIMIT * half - 0.5)


def test_a_scatter_puts_x_to_the_right_and_y_up() -> None:
    layout = Points(points=10)
    real, made = torch.tensor([[1.0, 2.0]]), torch.tensor([[-2.0, 0.5], [0.0, -1.0]])
    picture = layout.sheet({"image": real, "made image": made, "made again": -real})
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.dtype == np.uint8
    assert tuple(picture[place(1, 2)]) == GREY
    first, second = picture[place(-2, 0.5)], picture[place(0, -1)]
    assert tuple(first) == tuple(second) != GREY
    assert tuple(picture[place(-1, -2)]) not in (GREY, tuple(first), (255, 255, 255))
    inked = (picture < 255).any(2)
    assert 4 * 5 < inked.sum() < 4 * 60, "four dots"
    assert (picture[0] == 255).all()


def test_what_lies_outside_is_drawn_on_the_edge() -> None:
    layout = Points(points=10)
    picture = layout.sheet({"made image": torch.tensor([[99.0, 0.0], [0.0, float("-inf")]])})
    inked = (picture < 255).any(2)
    assert inked[SIDE // 2, -1]
    assert inked[-1, SIDE // 2]
    assert inked.sum() < 60


def test_real_points_are_grey_wherever_they_stand_among_the_rows() -> None:
    layout, point = Points(points=10), torch.zeros(1, 2)
    for rows in ({"image": point}, {"made image": point + 1, "image": point}):
        assert tuple(layout.sheet(rows)[place(0, 0)]) == GREY
