"""The curriculum at every border, and a method on pictures and networks that grow."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_core.growth import At, Growing, Growth, Stage, at_stage
from gan_core.handicap import Handicap
from gan_core.methods.gan import GAN
from gan_core.routing import Progress, Setting
from gan_core.trainer import Trainer


def paper(**more: Any) -> Growth:
    return Growth(1024, 16, final=5_400_000, **more)


def level_of_detail(images: int, size: int) -> float:
    """The authors' schedule as they write it: "lod" falls from log2(size) - 2 to 0 (train.py)."""
    phase, inside = divmod(images, 1_200_000)
    lod = math.log2(size) - 2 - phase - max(inside - 600_000, 0) / 600_000
    return max(lod, 0.0)


@pytest.mark.parametrize("border", range(0, 10_200_001, 600_000))
@pytest.mark.parametrize("offset", [-1, 0, 1, 300_000])
def test_the_stage_is_that_of_the_authors_schedule(border: int, offset: int) -> None:
    images = max(border + offset, 0)
    lod = level_of_detail(images, 1024)
    stage = paper().stage(images)
    if stage.alpha == 0:  # at the border itself: the next resolution, of which nothing shows yet
        assert lod == round(lod)
        stage = Stage(stage.resolution // 2, 1.0)
    assert stage.resolution == 2 ** (10 - math.floor(lod))
    share = 1 - (lod - math.floor(lod))  # of the new resolution
    assert stage.alpha == pytest.approx(share, abs=1e-9)


def test_a_border_itself_begins_the_phase_after_it() -> None:
    growth = Growth(16, 8, stabilise=80, fade=40, final=100)
    at = {
        0: Stage(4, 1.0),
        79: Stage(4, 1.0),
        80: Stage(8, 0.0),
        100: Stage(8, 0.5),
        119: Stage(8, 39 / 40),
        120: Stage(8, 1.0),
        200: Stage(16, 0.0),
        240: Stage(16, 1.0),
        10**9: Stage(16, 1.0),
    }
    assert {images: growth.stage(images) for images in at} == at


def test_fading_first_stabilises_the_first_resolution_for_both_lengths() -> None:
    growth = Growth(8, 8, order="fade", stabilise=80, fade=40, final=100)
    assert growth.stage(119) == Stage(4, 1.0)
    assert growth.stage(140) == Stage(8, 0.5)
    assert growth.begins[-1] == (33, 264)  # 260 images in batches of 8


def test_without_a_fade_the_next_resolution_is_there_at_once() -> None:
    growth = Growth(16, 8, stabilise=80, fade=0, final=100)
    assert [growth.stage(n) for n in (79, 80, 160)] == [
        Stage(4, 1.0),
        Stage(8, 1.0),
        Stage(16, 1.0),
    ]


def test_one_resolution_is_no_growth() -> None:
    growth = Growth(16, 8, start=16, stabilise=80, fade=40, final=100)
    assert growth.stage(0) == growth.stage(10**6) == Stage(16, 1.0)
    assert growth.begins == [(0, 0), (13, 104)]


class TestBatches:
    growth = Growth(32, 2, stabilise=50, fade=30, final=20, batch_sizes=(16, 8, 6))

    def test_they_follow_one_another_without_a_gap(self) -> None:
        batches = [self.growth.batch(number) for number in range(100)]
        assert batches[0][0] == 0
        assert all(first + size == after for (first, size), (after, _) in pairwise(batches))

    def test_each_has_the_size_of_the_phase_that_its_first_image_falls_into(self) -> None:
        sizes = {4: 16, 8: 8, 16: 6, 32: 6}  # the last given holds on
        for number in range(100):
            first, size = self.growth.batch(number)
            assert size == sizes[self.growth.stage(first).resolution]

    def test_a_phase_shorter_than_a_batch_is_passed_over(self) -> None:
        growth = Growth(16, 10, stabilise=3, fade=3, final=100)
        assert growth.batch(0) == (0, 10)
        assert growth.batch(1) == (10, 10)
        assert growth.begins == [(0, 0), (1, 10), (1, 10), (1, 10), (2, 20), (12, 120)]
        assert growth.stage(10) == Stage(16, pytest.approx(1 / 3))

    def test_its_length_is_the_phases_in_batches(self) -> None:
        assert Growth(8, 4, stabilise=40, fade=20, final=8).begins[-1] == (17, 68)


def test_rates_and_eras() -> None:
    growth = Growth(16, 8, stabilise=80, fade=40, final=100, rates=(1.0, 0.5))
    settings = [growth.setting(images) for images in (0, 80, 120, 200, 240, 10**6)]
    assert [setting.rate for setting in settings] == [1.0, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert [setting.era for setting in settings] == [0, 1, 2, 3, 4, 4]
    still = Growth(16, 8, stabilise=80, fade=40, final=100, resets=False)
    assert {still.setting(images).era for images in range(0, 500, 10)} == {0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": 3},
        {"start": 2},
        {"start": 64},
        {"stabilise": -1},
        {"stabilise": 0, "fade": 0, "final": 0},
        {"batch_sizes": (4, 0)},
        {"rates": (0.0,)},
        {"rates": (float("nan"),)},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|are numbers|are no images"):
        Growth(32, 8, **wrong)


def test_a_size_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match="48"):
        Growth(48, 8)


def test_what_is_shown_has_the_stages_resolution_and_share() -> None:
    growth = Growth(16, 2, stabilise=20, fade=40, final=100)
    pictures = torch.arange(2 * 16 * 16, dtype=torch.float64).reshape(2, 1, 16, 16)
    batch = {"image": pictures, "label": torch.tensor([1, 0])}
    first = growth.shown(batch, 0)
    assert set(first) == {"image", "label"}
    means = pictures.reshape(2, 1, 4, 4, 4, 4).mean((3, 5))
    torch.testing.assert_close(first["image"], means, rtol=0, atol=1e-12)
    fading = growth.shown(batch, 30)
    assert fading["image"].shape == (2, 1, 8, 8)
    assert fading["alpha"].tolist() == [0.25, 0.25]
    assert torch.equal(growth.shown(batch, 500)["image"], pictures)


class Spy(nn.Module):
    """Notes what it is called with; makes constants."""

    grows = True
    latent = 3

    def __init__(self, makes: bool) -> None:
        super().__init__()
        self.makes = makes
        self.weight = nn.Parameter(torch.ones(()))
        self.calls: list[tuple[int | None, Tensor | None]] = []

    def forward(
        self,
        x: Tensor,
        labels: Tensor | None = None,
        features: bool = False,
        resolution: int | None = None,
        alpha: Tensor | None = None,
    ) -> Tensor:
        self.calls.append((resolution, alpha))
        if self.makes:
            side = resolution or 16
            return self.weight * x.mean(1)[:, None, None, None].expand(-1, 1, side, side)
        return self.weight * x.mean((1, 2, 3))[:, None]


def spies() -> dict[str, Any]:
    return {"G": Spy(True), "D": Spy(False)}


def growing(grows: Any = "networks") -> Growing:
    growth = Growth(16, 2, grows=grows, stabilise=20, fade=40, final=100)
    return Growing(GAN(Handicap(), loss="wgan", penalty="two-sided"), growth)


class TestGrowing:
    def test_reals_fade_from_the_resolution_before(self) -> None:
        image = torch.randn(2, 1, 8, 8, dtype=torch.float64)
        coarse = image.reshape(2, 1, 4, 2, 4, 2).mean((3, 5))
        enlarged = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
        alpha = torch.tensor([0.25, 0.25], dtype=torch.float64)
        scene = growing().scene(spies(), {"image": image, "alpha": alpha})
        torch.testing.assert_close(scene["real"], 0.75 * enlarged + 0.25 * image)

    def test_all_networks_are_called_at_the_batchs_stage(self) -> None:
        nets, method = spies(), growing()
        alpha = torch.tensor([0.25, 0.25])
        scene = method.scene(nets, {"image": torch.randn(2, 1, 8, 8), "alpha": alpha})
        for update in method.updates:
            method.losses(update, nets, scene)
        calls = nets["G"].calls + nets["D"].calls
        assert len(calls) == 1 + 3 + 1  # fakes; reals, fakes, between them; fakes
        assert all(call == (8, alpha) or call[1] is alpha for call in calls)
        assert {resolution for resolution, _ in calls} == {8}
        method.scene(nets, {"image": torch.randn(2, 1, 8, 8)})
        assert nets["G"].calls[-1] == (8, None)

    def test_a_fixed_network_sees_large_pixels(self) -> None:
        nets, image = spies(), torch.randn(2, 1, 4, 4)
        scene = growing("pictures").scene(nets, {"image": image})
        enlarged = image.repeat_interleave(4, 2).repeat_interleave(4, 3)
        assert torch.equal(scene["real"], enlarged)
        assert scene["fake"].shape == (2, 1, 16, 16)
        assert nets["G"].calls == [(None, None)]

    def test_samples_have_their_final_size_at_every_stage(self) -> None:
        nets, method, batch = spies(), growing(), {"image": torch.randn(2, 1, 16, 16)}
        for images, resolution in ((0, 4), (40, 8), (500, 16)):
            method.schedule(Progress(0, 10, images))
            made = method.made(nets, batch, torch.Generator().manual_seed(0))
            assert made["image"].shape == (2, 1, 16, 16)
            assert nets["G"].calls[-1][0] == resolution
        method.schedule(Progress(0, 10, 30))
        method.made(nets, batch, torch.Generator())
        alpha = nets["G"].calls[-1][1]
        assert alpha is not None
        assert alpha.tolist() == [0.25]

    def test_it_goes_back_to_its_state(self) -> None:
        method, again = growing(), growing()
        method.schedule(Progress(3, 10, 30))
        again.load_state_dict(method.state_dict())
        assert again.stage == Stage(8, 0.25)

    def test_networks_that_do_not_grow_are_refused(self) -> None:
        plain = nn.Linear(1, 1)

        def build(section: str, **shape: int) -> nn.Module:
            return plain

        with pytest.raises(ValueError, match="progressive"):
            growing().networks(build, {"image": 1})
        assert set(growing("pictures").networks(build, {"image": 1})) == {"G", "D"}

    def test_a_view_is_the_network(self) -> None:
        net = Spy(True)
        view = At(net, 8, None)
        assert view.latent == 3
        assert list(view.parameters()) == list(net.parameters())
        assert view(torch.ones(1, 3)).shape == (1, 1, 8, 8)

    def test_only_networks_that_grow_are_viewed(self) -> None:
        nets = {"G": Spy(True), "M": nn.Linear(1, 1)}
        seen = at_stage(nets, Stage(8, 1.0))
        assert isinstance(seen["G"], At)
        assert seen["M"] is nets["M"]


def test_optimisers_forget_where_an_era_begins_and_rates_follow() -> None:
    """Adam's first step after a reset is of the full rate, whatever the gradients were."""
    growth = Growth(8, 2, stabilise=8, fade=4, final=100, rates=(1.0, 0.5))
    method = Growing(GAN(Handicap(), loss="wgan", penalty="two-sided"), growth)
    nets = spies()
    optimizers = {
        update.name: torch.optim.Adam(nets[update.trains[0]].parameters(), lr=0.01)
        for update in method.updates
    }
    trainer = Trainer(
        method, nets, optimizers, 100, lambda step, steps: 1.0, setting=growth.setting
    )
    counts, rates = [], []
    position = 0
    for _ in range(10):
        whole = {"image": torch.randn(2, 1, 8, 8)}
        batch = growth.shown(whole, trainer.counts["images"])
        rates.append(trainer.step(iter([batch]))["lr generator"])
        position += 2
        state = optimizers["generator"].state
        counts.append(int(next(iter(state.values()))["step"]) if state else 0)
    assert counts == [1, 2, 3, 0, 1, 0, 1, 2, 3, 4]
    assert rates == [0.01] * 4 + [0.005] * 6
    assert position == trainer.counts["images"]


def test_a_trainer_without_a_curriculum_keeps_its_optimisers() -> None:
    assert Setting() == Setting(rate=1.0, era=0)
