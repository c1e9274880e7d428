"""Learning-rate policies against their formulas."""

import itertools
import math
from collections.abc import Callable

import pytest

from gan_core.schedules import POLICIES, constant, cosine, linear, step


def test_constant() -> None:
    assert {constant()(now, 10) for now in range(11)} == {1.0}


def test_linear_is_cyclegans() -> None:
    """Zhu et al. 2017: 100 epochs at the full rate, then linearly to zero over the next 100."""
    rate = linear()
    assert {rate(epoch, 200) for epoch in range(101)} == {1.0}
    assert [rate(epoch, 200) for epoch in (101, 150, 199, 200)] == [0.99, 0.5, 0.01, 0.0]


@pytest.mark.parametrize(
    ("decay_from", "expected"),
    [
        (0.0, [1.0, 0.75, 0.5, 0.25, 0.0]),
        (0.5, [1.0, 1.0, 1.0, 0.5, 0.0]),
        (1.0, [1.0, 1.0, 1.0, 1.0, 0.0]),
    ],
)
def test_linear_from_elsewhere(decay_from: float, expected: list[float]) -> None:
    rate = linear(decay_from=decay_from)
    assert [rate(now, 4) for now in range(5)] == expected


def test_cosine() -> None:
    rate = cosine()
    expected = [1.0, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0.0]
    assert [rate(now, 100) for now in (0, 25, 50, 75, 100)] == pytest.approx(expected, abs=1e-15)


def test_step() -> None:
    rate = step(decay_every=0.25, decay_by=0.1)
    expected = [1.0] * 25 + [0.1] * 25 + [0.01] * 25 + [0.001] * 25
    assert [rate(now, 100) for now in range(100)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("hundredths", range(1, 50))
@pytest.mark.parametrize("steps", [100, 300, 10_000])
def test_step_falls_exactly_where_a_share_has_passed(hundredths: int, steps: int) -> None:
    """Although 0.07 * 100 is a little more than 7 in floating point."""
    rate, each = step(decay_every=hundredths / 100, decay_by=0.5), hundredths * steps // 100
    assert rate(each - 1, steps) == 1.0
    assert rate(each, steps) == 0.5
    assert rate(2 * each - 1, steps) == 0.5
    assert rate(2 * each, steps) == 0.25


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
def test_every_policy_falls_from_one_and_stays_above_zero(name: str, steps: int) -> None:
    rates = [POLICIES[name]()(now, steps) for now in range(steps)]
    assert rates[0] == 1.0
    assert all(0 < b <= a <= 1 for a, b in itertools.pairwise(rates))


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize(("policy", "key"), [(linear, "decay_from"), (step, "decay_every")])
def test_shares_outside_the_run_are_refused(
    policy: Callable[..., object], key: str, value: float
) -> None:
    with pytest.raises(ValueError, match=f"{key} is a share of the run, from 0 to 1, not"):
        policy(**{key: value})
