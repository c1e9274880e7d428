"""Extending against NumPy's padding, and numbers worked out by hand."""

import numpy as np
import pytest
import torch

from translate.networks.fit import fit

SIDES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33)


def wanted(side: int, multiple: int, smallest: int) -> int:
    """The first side that will do, by trying."""
    return next(n for n in range(side, 10**4) if n % multiple == 0 and n >= smallest)


@pytest.mark.parametrize(
    ("row", "multiple", "expected"),
    [
        ([1, 2, 3], 5, [1, 2, 3, 2, 1]),
        ([1, 2, 3, 4], 5, [1, 2, 3, 4, 3]),
        ([1, 2, 3], 3, [1, 2, 3]),
        ([1, 2, 3], 2, [1, 2, 3, 2]),
        ([1, 2, 3], 6, [1, 2, 3, 3, 3, 3]),  # three more would need a fourth to mirror
        ([1], 4, [1, 1, 1, 1]),
    ],
)
def test_by_hand(row: list[int], multiple: int, expected: list[int]) -> None:
    """Of rows whose lines need nothing: a multiple of them stands below one another."""
    x = torch.tensor(row, dtype=torch.float32).expand(1, 1, multiple, -1)
    assert fit(x, multiple, 1)[0, 0].tolist() == [expected] * multiple
    assert fit(x.transpose(2, 3), multiple, 1)[0, 0].T.tolist() == [expected] * multiple


@pytest.mark.parametrize("multiple", [1, 4, 16])
@pytest.mark.parametrize("height", SIDES)
def test_against_numpy(height: int, multiple: int) -> None:
    """Mirrored where both sides have enough to mirror, else the last row and column repeated."""
    torch.manual_seed(0)
    for width in SIDES:
        for smallest in {multiple, 2 * multiple}:
            x = torch.randn(2, 3, height, width)
            before = x.clone()
            extra = [wanted(side, multiple, smallest) - side for side in (height, width)]
            enough = extra[0] < height and extra[1] < width
            padding = [(0, 0), (0, 0), (0, extra[0]), (0, extra[1])]
            expected = np.pad(x.numpy(), padding, mode="reflect" if enough else "edge")
            np.testing.assert_array_equal(fit(x, multiple, smallest).numpy(), expected)
            assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_numbers_keep_their_type(dtype: torch.dtype) -> None:
    x = torch.randn(1, 1, 5, 6).to(dtype)
    made = fit(x, 4, 4)
    assert made.dtype == dtype
    assert torch.equal(made[:, :, :5, :6], x)


def test_gradients_of_what_is_repeated_add_up() -> None:
    """Of five pixels extended to eight, mirrored: the first and the last one are shown once."""
    x = torch.zeros(1, 1, 8, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(fit(x, 8, 8).sum(), x)
    assert gradient[0, 0].tolist() == [[1, 2, 2, 2, 1]] * 8
