"""Clips: numbers by hand, element by element and tensor by tensor, what is inside untouched."""

import pytest
import torch
from torch import Tensor, nn

from gan_core.constraints import CONSTRAINTS, clip_norms, clip_values

SHAPES = [(), (1,), (5,), (3, 4), (2, 3, 4, 4)]


def draw(seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in SHAPES
    ]


def copies(tensors: list[Tensor]) -> list[Tensor]:
    return [t.clone() for t in tensors]


def test_values_by_hand() -> None:
    w = [torch.tensor([[0.25, -0.25], [2.0, -3.0]]), torch.tensor([0.5, -0.5, -0.75, 0.0])]
    clip_values(0.5, w)
    assert w[0].tolist() == [[0.25, -0.25], [0.5, -0.5]]
    assert w[1].tolist() == [0.5, -0.5, -0.5, 0.0]


def test_norms_by_hand() -> None:
    """Lengths 5, 1 and 0 against 2.5: half of the first, and the others as they are."""
    w = [torch.tensor([[3.0, 0.0], [0.0, -4.0]]), torch.tensor([0.6, 0.8]), torch.zeros(3)]
    clip_norms(2.5, w)
    assert w[0].tolist() == [[1.5, 0.0], [0.0, -2.0]]
    assert w[1].equal(torch.tensor([0.6, 0.8]))
    assert w[2].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bound", [0.01, 0.7, 1e3])
def test_values_element_by_element(bound: float, dtype: torch.dtype) -> None:
    before = draw(1, dtype)
    after = copies(before)
    clip_values(bound, after)
    edge = torch.tensor(bound, dtype=dtype)
    for old, new in zip(before, after, strict=True):
        assert new.abs().max() <= edge
        within = old.abs() <= edge
        assert new[within].equal(old[within])
        assert new[~within].equal(edge * old[~within].sign())
    outside = sum(int((old.abs() > edge).sum()) for old in before)
    assert (outside > 0) == (bound < 1e3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bound", [0.01, 2.0, 1e3])
def test_norms_tensor_by_tensor(bound: float, dtype: torch.dtype) -> None:
    """Each tensor has the length of its own: one that is long does not shorten the others."""
    before = draw(1, dtype)
    after = copies(before)
    clip_norms(bound, after)
    shortened = 0
    for old, new in zip(before, after, strict=True):
        length = old.square().sum().sqrt().item()
        if length <= bound:
            assert new.equal(old)
        else:
            shortened += 1
            torch.testing.assert_close(new, old * (bound / length))
            assert new.square().sum().sqrt().item() == pytest.approx(bound, rel=1e-6)
    assert shortened == {0.01: 5, 2.0: 2, 1e3: 0}[bound]


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_parameters_are_moved_where_they_lie(name: str) -> None:
    """As a trainer has them after a step, whose optimiser holds the same tensors."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.GroupNorm(1, 4))
    parameters = list(net.parameters())
    places = [p.data_ptr() for p in parameters]
    before = copies([p.detach() for p in parameters])
    with torch.no_grad():
        CONSTRAINTS[name](0.1, parameters)
    assert [p.data_ptr() for p in net.parameters()] == places
    assert all(p.requires_grad and p.is_leaf for p in parameters)
    moved = [not p.equal(old) for p, old in zip(parameters, before, strict=True)]
    # two of the linear layer, the norm's gain, and its bias, which starts at 0
    assert moved == ([False] * 4 if name == "decay" else [True, True, True, False])


@pytest.mark.parametrize("name", ["clip", "norm-clip"])
def test_a_second_time_changes_nothing(name: str) -> None:
    once = draw(1)
    CONSTRAINTS[name](0.3, once)
    twice = copies(once)
    CONSTRAINTS[name](0.3, twice)
    for a, b in zip(once, twice, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-15, atol=0)


def test_the_names() -> None:
    assert CONSTRAINTS.keys() == {"clip", "norm-clip", "decay"}
    by_value, by_norm = draw(1), draw(1)
    expected = copies(by_value), copies(by_norm)
    CONSTRAINTS["clip"](0.2, by_value)
    CONSTRAINTS["norm-clip"](0.2, by_norm)
    clip_values(0.2, expected[0])
    clip_norms(0.2, expected[1])
    assert all(map(torch.equal, by_value, expected[0]))
    assert all(map(torch.equal, by_norm, expected[1]))


@pytest.mark.parametrize("name", ["clip", "norm-clip"])
def test_a_weight_that_is_lost_stays_lost(name: str) -> None:
    """A clip is not to hide it."""
    w = [torch.tensor([float("nan"), 1.0])]
    CONSTRAINTS[name](0.5, w)
    assert w[0][0].isnan()
