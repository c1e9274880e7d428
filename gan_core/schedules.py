"""Learning-rate policies: the share of the base rate at a step, pure functions of the step."""

import math
from collections.abc import Callable

Rate = Callable[[int, int], float]


def constant() -> Rate:
    """1 throughout."""
    return lambda step, steps: 1.0


def linear(*, decay_from: float = 0.5) -> Rate:
    """1 until ``decay_from`` (share of the run, 0 to 1), then in a straight line to 0 at its end.

    With 200 epochs and 0.5 this is CycleGAN's "100 epochs constant, then linearly to zero over
    the next 100" (Zhu et al. 2017, section 4), followed step by step instead of epoch by epoch.
    """
    _share("decay_from", decay_from)

    def rate(step: int, steps: int) -> float:
        start = decay_from * steps
        return 1.0 if step < start else (steps - step) / max(steps - start, 1.0)

    return rate


def cosine() -> Rate:
    """Half a cosine from 1 to 0 (Loshchilov & Hutter 2017, eq. 5, one cycle)."""
    return lambda step, steps: 0.5 * (1 + math.cos(math.pi * step / max(steps, 1)))


def step(*, decay_every: float = 0.25, decay_by: float = 0.1) -> Rate:
    """Multiplied by ``decay_by`` each time a share ``decay_every`` of the run has passed."""
    _share("decay_every", decay_every)

    def rate(now: int, steps: int) -> float:
        passed = now / max(decay_every * steps, 1.0)
        return decay_by ** math.floor(passed + 1e-9)  # 0.07 * 100 is a little more than 7

    return rate


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a share of the run, from 0 to 1, not {value}")


POLICIES: dict[str, Callable[..., Rate]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "step": step,
}
