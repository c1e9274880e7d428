"""The moving average of weights."""

import pytest
import torch
from torch import nn

from gan_core.ema import Average


def filled(value: float) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for p in net.parameters():
        nn.init.constant_(p, value)
    return net


def value(average: Average) -> float:
    values = {x.item() for p in average.nets["G"].parameters() for x in p.flatten()}
    assert len(values) == 1
    return values.pop()


def test_half_is_forgotten_in_a_half_life() -> None:
    average = Average({"G": filled(1.0)}, half_life=1000)
    for images, expected in [(1000, 0.5), (1000, 0.25), (500, 0.25 / 2**0.5)]:
        average.update({"G": filled(0.0)}, images, seen=10**6)
        assert value(average) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("batch", [1, 5, 50])
def test_does_not_depend_on_the_batch_size(batch: int) -> None:
    average = Average({"G": filled(1.0)}, half_life=100)
    for _ in range(100 // batch):
        average.update({"G": filled(0.0)}, batch, seen=10**6)
    assert value(average) == pytest.approx(0.5, rel=1e-5)


def test_follows_closely_at_first() -> None:
    """The half-life is a twentieth of what has been seen, until it has grown to its length."""
    for seen, half_life in [(200, 10), (2000, 100), (20_000, 1000), (10**6, 1000)]:
        average = Average({"G": filled(1.0)}, half_life=1000)
        average.update({"G": filled(0.0)}, half_life, seen)
        assert value(average) == pytest.approx(0.5, rel=1e-6), seen


def test_first_weights_leave_no_trace() -> None:
    average = Average({"G": filled(1.0)}, half_life=1000)
    average.update({"G": filled(0.0)}, 4, seen=4)
    assert 0 <= value(average) < 1e-5


def test_zero_keeps_the_weights_themselves() -> None:
    average = Average({"G": filled(1.0)}, half_life=0)
    average.update({"G": filled(0.3)}, 1, seen=10**6)
    assert value(average) == torch.tensor(0.3).item()


def test_buffers_are_copied() -> None:
    net = filled(1.0)
    average = Average({"G": net}, half_life=1000)
    net(torch.randn(8, 2) + 3)
    average.update({"G": net}, 8, seen=10**6)
    for mine, theirs in zip(average.nets["G"].buffers(), net.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    assert int(average.nets["G"][1].num_batches_tracked) == 1


def test_is_a_copy_for_use_only() -> None:
    net = filled(1.0)
    average = Average({"G": net}, half_life=10)
    copied = average.nets["G"]
    assert not copied.training
    assert net.training
    assert not any(p.requires_grad for p in copied.parameters())
    assert all(p.requires_grad for p in net.parameters())
    before = [p.clone() for p in net.parameters()]
    average.update({"G": net}, 5, seen=5)
    with torch.no_grad():
        copied[0].weight.zero_()
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))


def test_a_negative_half_life_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ema_half_life must be 0 \(off\) or more"):
        Average({"G": filled(1.0)}, half_life=-1)
