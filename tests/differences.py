"""Gradients held against difference quotients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


def assert_gradient(value: Callable[[], Tensor], weight: Tensor) -> None:
    """The scalar's gradient by a float64 weight, along a random direction, which it depends on."""
    (exact,) = torch.autograd.grad(value(), weight)
    direction, step = torch.randn_like(weight), 1e-6
    values = []
    for sign in (1, -1):
        weight.data += sign * step * direction
        values.append(value().item())
        weight.data -= sign * step * direction
    quotient = (values[0] - values[1]) / (2 * step)
    assert abs(quotient) > 1e-6
    assert (exact * direction).sum().item() == pytest.approx(quotient, rel=1e-5)
