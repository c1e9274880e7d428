"""What holds D back: off by default, noise that falls, augmentation that adapts, the gate."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core import distributed, sampling
from gan_core.augmentation import POLICIES, augment
from gan_core.handicap import Handicap
from gan_core.routing import Progress

ALL = ("colour", "translation", "cutout")


def pictures(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape or (4, 3, 16, 16), generator=generator) * 2 - 1).to(dtype)


def shown(handicap: Handicap, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    sampling.seed(1)
    return handicap.show(real, fake)


def scores(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


# Off.


def test_nothing_is_the_default() -> None:
    """The very tensors come back and no random number is drawn, so that a method without a
    handicap trains bit for bit as if there were none."""
    handicap = Handicap()
    handicap.check(None)
    handicap.begin(Progress(0, 10, 0))
    real, fake = pictures(1), pictures(2)
    sampling.seed(1)
    expected = sampling.normal(3, like=real)
    got_real, got_fake = shown(handicap, real, fake)
    assert got_real is real
    assert got_fake is fake
    assert handicap.show_fake(fake) is fake
    assert sampling.normal(3, like=real).equal(expected)
    assert handicap.weights() == (1.0, 1.0)
    assert handicap.figures(scores(1.0), scores(-1.0), None) == {}
    before = handicap.state_dict()
    handicap.observe({"adversarial D": 3.0})
    assert handicap.state_dict() == before


# Noise.


def added(handicap: Handicap, shape: tuple[int, ...] = (8, 50_000)) -> list[np.ndarray]:
    """What real and fake gain in D's turn, and fake in G's."""
    still = torch.zeros(shape, dtype=torch.float64)
    real, fake = shown(handicap, still, still)
    return [x.numpy() for x in (real, fake, handicap.show_fake(still))]


def test_normal_noise_has_its_deviation() -> None:
    for noise in added(Handicap(noise=0.3)):
        assert noise.std() == pytest.approx(0.3, rel=0.01)
        assert abs(noise.mean()) < 0.002
        assert (noise**4).mean() == pytest.approx(3 * 0.3**4, rel=0.05)


def test_uniform_noise_has_its_largest_amount() -> None:
    for noise in added(Handicap(noise=0.3, noise_kind="uniform")):
        assert -0.3 <= noise.min() < -0.2999
        assert 0.2999 < noise.max() <= 0.3
        assert noise.std() == pytest.approx(0.3 / 3**0.5, rel=0.01)


def test_noise_is_new_for_each() -> None:
    noises = np.stack([noise.flatten() for noise in added(Handicap(noise=1.0))])
    assert np.abs(np.corrcoef(noises) - np.eye(3)).max() < 0.01
    by_sample = np.corrcoef(added(Handicap(noise=1.0))[0])
    assert np.abs(by_sample - np.eye(8)).max() < 0.03


def test_noise_on_reals_alone() -> None:
    real, fake, turn_of_G = added(Handicap(noise=0.3, noise_on="real"))
    assert real.std() == pytest.approx(0.3, rel=0.01)
    assert not fake.any()
    assert not turn_of_G.any()


@pytest.mark.parametrize(
    ("until", "step", "share"),
    [
        (1.0, 0, 1.0),
        (1.0, 25, 0.75),
        (1.0, 100, 0.0),
        (0.5, 0, 1.0),
        (0.5, 25, 0.5),
        (0.5, 50, 0.0),
        (0.5, 90, 0.0),
    ],
)
def test_noise_falls_in_a_straight_line(until: float, step: int, share: float) -> None:
    handicap = Handicap(noise=2.0, noise_until=until)
    handicap.begin(Progress(step, 100, 12345))
    assert handicap.level == pytest.approx(2 * share)
    full = added(Handicap(noise=2.0), (2, 9))
    for noise, most in zip(added(handicap, (2, 9)), full, strict=True):
        np.testing.assert_allclose(noise, share * most, atol=1e-12)


def test_noise_attaches_to_points_and_sequences() -> None:
    for shape in ((5, 2), (5, 32, 27)):
        real, fake = shown(Handicap(noise=0.1), pictures(1, *shape), pictures(2, *shape))
        assert real.shape == fake.shape == shape


def test_gradient_of_a_fake_is_that_without_noise() -> None:
    fake = pictures(2).requires_grad_()
    (gradient,) = torch.autograd.grad(Handicap(noise=0.5).show_fake(fake).sum(), fake)
    assert gradient.eq(1).all()


# Augmentation.


def test_reals_and_fakes_are_augmented_in_both_turns() -> None:
    real, fake = pictures(1), pictures(2)
    handicap = Handicap(augment=ALL)
    sampling.seed(1)
    expected = [augment(x, ALL) for x in (real, fake, fake)]
    got = [*shown(handicap, real, fake), handicap.show_fake(fake)]
    assert all(map(torch.equal, got, expected))
    assert not got[1].equal(got[2]), "drawn anew"
    sampling.seed(1)
    assert not Handicap(augment=ALL[:1]).show_fake(fake).equal(expected[0])


def test_noise_comes_last() -> None:
    """On what was cut out and moved in too: D sees no clean part."""
    noisy = shown(Handicap(augment=("cutout",), noise=1e-3), pictures(1), pictures(2))
    clean = shown(Handicap(augment=("cutout",)), pictures(1), pictures(2))
    assert (clean[0] == 0).any()
    assert not (noisy[0] == 0).any()
    sampling.seed(1)
    real = augment(pictures(1), ["cutout"])
    real = real + 1e-3 * sampling.normal(*real.shape, like=real)
    assert noisy[0].equal(real)


def test_points_cannot_be_augmented() -> None:
    with pytest.raises(ValueError, match="only pictures"):
        Handicap(augment=("colour",)).show_fake(torch.zeros(4, 2))


def adaptive(**kwargs: Any) -> Handicap:
    return Handicap(augment=ALL, augment_target=0.6, augment_images=1000, **kwargs)


def train(handicap: Handicap, sign: float, steps: int, batch: int = 32, start: int = 0) -> None:
    for step in range(start, start + steps):
        handicap.begin(Progress(step, 10_000, batch * step))
        handicap.observe({"sign real": sign})


def test_a_fixed_strength_does_not_move() -> None:
    handicap = Handicap(augment=ALL)
    train(handicap, 1.0, 50)
    assert handicap.p == 1.0


def test_adaptation_starts_at_nothing() -> None:
    handicap = adaptive()
    real, fake = pictures(1), pictures(2)
    got = shown(handicap, real, fake)
    assert got[0].equal(real)
    assert got[1].equal(fake)


def test_overfitting_raises_the_probability_image_by_image() -> None:
    """A D that is sure of reals: p goes from 0 to 1 in augment_images, and no further."""
    handicap = adaptive()
    train(handicap, 1.0, 4)
    assert handicap.p == pytest.approx(32 / 1000), "1 - (3/4)^4 is the first mean above 0.6"
    train(handicap, 1.0, 20, start=4)
    assert handicap.p == pytest.approx(32 * 21 / 1000)
    train(handicap, 1.0, 40, start=24)
    assert handicap.p == 1.0
    train(handicap, 0.2, 3, start=64)
    assert handicap.p == 1.0 - 32 / 1000, "0.2 + 0.8 (3/4)^3 is the first mean below 0.6"
    train(handicap, 0.2, 100, start=67)
    assert handicap.p == 0.0


def test_the_running_mean_is_held_against_the_target() -> None:
    """0.7 alone is above it; the mean of 0.7 and 0.4 in turn is 0.55, which is not."""
    high = adaptive()
    train(high, 0.7, 100)
    assert high.p == 1.0
    mixed = adaptive()
    for step in range(100):
        mixed.begin(Progress(step, 10_000, 32 * step))
        mixed.observe({"sign real": 0.7 if step % 2 else 0.4})
    assert mixed.p == 0.0


def test_speed_counts_the_images_of_steps_that_differ() -> None:
    """As many images in two runs, in 1 and in 8 batches a step, move p by as much."""
    moved = []
    for batches in (1, 8):
        handicap = adaptive()
        train(handicap, 1.0, 10, batch=1)
        before = handicap.p
        start = 9 + np.arange(80 // batches + 1) * batches
        for step, images in enumerate(start):
            handicap.begin(Progress(10 + step, 10_000, int(images)))
            handicap.observe({"sign real": 1.0})
        moved.append(handicap.p - before)
    assert moved == pytest.approx([0.08, 0.08])


def test_a_skipped_batch_moves_nothing_but_its_images_count() -> None:
    handicap = adaptive()
    train(handicap, 1.0, 10)
    p, means = handicap.p, dict(handicap.means)
    handicap.begin(Progress(10, 10_000, 320))
    handicap.observe({"lr discriminator": 1e-4})
    assert (handicap.p, handicap.means) == (p, means)
    train(handicap, 1.0, 1, start=11)
    assert handicap.p == pytest.approx(p + 2 * 32 / 1000)


# The gate.


def test_classes_are_skipped_apart() -> None:
    handicap = Handicap(balance=0.8, balance_window=1)
    assert handicap.weights() == (1.0, 1.0)
    for real, fake, weights in [
        (0.79, 0.0, (1.0, 1.0)),
        (0.8, 0.79, (0.0, 1.0)),
        (0.5, 0.9, (1.0, 0.0)),
        (1.0, 1.0, (0.0, 0.0)),
        (0.0, 0.0, (1.0, 1.0)),
    ]:
        handicap.observe({"accuracy real": real, "accuracy fake": fake})
        assert handicap.weights() == weights


def test_accuracy_is_a_running_mean() -> None:
    """a <- a + (x - a) / window: after n steps of 1, 1 - (1 - 1/window)^n."""
    handicap = Handicap(balance=0.75, balance_window=10)
    for n in range(1, 30):
        handicap.observe({"accuracy real": 1.0, "accuracy fake": 0.5})
        mean = 1 - 0.9**n
        assert handicap.means["accuracy real"] == pytest.approx(mean)
        assert handicap.means["accuracy fake"] == pytest.approx(mean / 2)
        assert handicap.weights() == (float(mean < 0.75), 1.0)


def test_an_untouched_gate_stays_open() -> None:
    handicap = Handicap(balance=0.1)
    handicap.observe({"adversarial D": 1.0})
    assert handicap.weights() == (1.0, 1.0)


# Figures.


@pytest.mark.parametrize("boundary", [0.0, 0.5, -2.0])
def test_figures_by_hand(boundary: float) -> None:
    """Reals at +1, +2, 0, -1 of the boundary, fakes at -1, 0, +3."""
    handicap = Handicap(balance=0.9, balance_window=1, augment=ALL, augment_target=0.5)
    handicap.observe({"accuracy real": 0.2, "accuracy fake": 0.95})
    real, fake = scores(1.0, 2.0, 0.0, -1.0) + boundary, scores(-1.0, 0.0, 3.0) + boundary
    figures = handicap.figures(real, fake, boundary)
    assert {name: value.item() for name, value in figures.items()} == pytest.approx(
        {
            "accuracy real": 2 / 4,
            "accuracy fake": 1 / 3,
            "skipped real": 0.0,
            "skipped fake": 1.0,
            "sign real": (1 + 1 + 0 - 1) / 4,
            "augmentation": 0.0,
        }
    )


def test_only_what_is_needed_is_measured() -> None:
    real, fake = scores(1.0), scores(-1.0)
    gate = Handicap(balance=0.9).figures(real, fake, 0.0)
    assert {*gate} == {"accuracy real", "accuracy fake", "skipped real", "skipped fake"}
    assert {*adaptive().figures(real, fake, 0.0)} == {"sign real", "augmentation"}
    assert Handicap(noise=1.0, augment=ALL).figures(real, fake, 0.0) == {}


def test_figures_are_of_a_map_of_scores_too_and_carry_no_gradient() -> None:
    handicap = Handicap(balance=0.9, augment=ALL, augment_target=0.5)
    real = torch.tensor([[[[1.0, -1.0], [2.0, 3.0]]]], dtype=torch.bfloat16, requires_grad=True)
    figures = handicap.figures(2 * real, -2 * real, 0.0)
    assert figures["accuracy real"] == figures["accuracy fake"] == 0.75
    assert figures["sign real"] == 0.5
    for value in figures.values():
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert not value.requires_grad


def test_what_is_measured_is_what_is_observed() -> None:
    """A D that is always right closes the gate and raises p, by the names of its own figures."""
    handicap = Handicap(
        balance=0.9, balance_window=2, augment=ALL, augment_target=0.6, augment_images=100
    )
    for step in range(20):
        handicap.begin(Progress(step, 100, 4 * step))
        figures = handicap.figures(scores(3.0, 2.0), scores(-1.0, -5.0), 0.0)
        handicap.observe({name: value.item() for name, value in figures.items()})
    assert handicap.weights() == (0.0, 0.0)
    assert 0.5 < handicap.p < 0.8
    last = handicap.figures(scores(3.0), scores(-1.0), 0.0)
    assert last["skipped real"] == last["skipped fake"] == 1
    assert last["augmentation"].item() == pytest.approx(handicap.p)


# State.


def test_a_resumed_run_goes_on_as_the_other() -> None:
    def steps(handicap: Handicap, numbers: range) -> list[Any]:
        seen = []
        for step in numbers:
            handicap.begin(Progress(step, 60, 10 * step))
            accuracy = 0.5 + 0.5 * math.sin(step / 3)
            handicap.observe(
                {"accuracy real": accuracy, "accuracy fake": 1 - accuracy, "sign real": accuracy}
            )
            seen += [handicap.weights(), handicap.p, handicap.level]
        return seen

    def new() -> Handicap:
        return adaptive(balance=0.6, balance_window=5, noise=1.0)

    whole, first, second = new(), new(), new()
    steps(whole, range(30))
    steps(first, range(30))
    state = first.state_dict()
    assert all(isinstance(value, float | int) for value in state.values())
    kept = dict(state)
    steps(first, range(30, 35))
    assert state == kept, "a state does not follow its handicap"
    second.load_state_dict(state)
    expected = steps(whole, range(30, 60))
    assert steps(second, range(30, 60)) == expected
    assert state == kept, "nor the one that it came from"
    assert len({str(x) for x in expected}) > 30, "everything moves"


def test_processes_show_what_one_would(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = pictures(1), pictures(2)
    handicap = Handicap(noise=0.2, noise_kind="uniform", augment=ALL)
    whole = shown(handicap, real, fake)
    monkeypatch.setattr(distributed, "world", lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        own = slice(2 * rank, 2 * rank + 2)
        parts.append(shown(handicap, real[own], fake[own]))
    for one, several in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.cat(several).equal(one)


# Formats, and mistakes.


def test_16_bits_are_left_behind() -> None:
    """Noise of 1e-4 would vanish in bfloat16."""
    real, fake = (pictures(seed, dtype=torch.bfloat16) for seed in (1, 2))
    noisy, _ = shown(Handicap(noise=1e-4), real, fake)
    assert noisy.dtype == torch.float32
    assert (noisy - real.float()).std().item() == pytest.approx(1e-4, rel=0.1)


def test_shapes_alone() -> None:
    handicap = Handicap(noise=1.0, balance=0.9, augment=ALL, augment_target=0.6)
    x = torch.empty(4, 3, 16, 16, device="meta", requires_grad=True)
    real, fake = handicap.show(x, x)
    assert real.shape == fake.shape == x.shape
    figures = handicap.figures(real.mean((1, 2, 3)), fake.mean((1, 2, 3)), 0.0)
    assert all(value.shape == () for value in figures.values())


def test_what_needs_a_boundary_says_so() -> None:
    for handicap, said in [
        (Handicap(balance=0.5), "balance count"),
        (adaptive(), "augment_target count"),
        (adaptive(balance=0.5), "balance and augment_target"),
    ]:
        handicap.check(0.0)
        handicap.check(0.5)
        with pytest.raises(ValueError, match=said):
            handicap.check(None)
    Handicap(noise=1.0, augment=ALL).check(None)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"noise": -0.1}, "noise must be 0 or more.*-0.1"),
    ({"noise_until": 0.0}, "noise_until above 0 and at most 1, not 0.0, 0.0"),
    ({"noise_until": 1.5}, "noise_until above 0 and at most 1, not 0.0, 1.5"),
    ({"noise_kind": "pink"}, "noise_kind 'pink'.*choose normal or uniform"),
    ({"noise_on": "fake"}, "noise_on 'fake'.*both or real"),
    ({"augment": ("color",)}, "augmentation 'color': choose colour"),
    ({"augment": ALL, "augment_target": 1.0}, "augment_target must be .* below 1.*not 1.0"),
    ({"augment": ALL, "augment_target": -0.5}, "augment_target must be 0 or more.*not -0.5"),
    ({"augment_images": 0}, "augment_images 1 or more, not 0.0, 0"),
    ({"augment_target": 0.6}, "augment_target = 0.6 needs something to adapt"),
    ({"balance": 1.1}, "balance must be from 0 to 1.*1.1"),
    ({"balance": -0.1}, "balance must be from 0 to 1.*-0.1"),
    ({"balance_window": 0}, "balance_window 1 or more, not 0.0, 0"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Handicap(**arguments)


def test_every_policy_can_be_asked_for() -> None:
    assert set(ALL) == set(POLICIES)
