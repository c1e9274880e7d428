"""The moving average of weights, and the batch norms' statistics that belong to it."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from gan_core.blocks.conditional import ClassConditionalNorm
from gan_core.ema import Average, restate_statistics


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


# ---- batch-norm statistics -----------------------------------------------------------------------

# Means 2 and 5, unbiased variances 2 and 4: over the passes 3.5 and 3, not weighted by their rows.
PASSES = (torch.tensor([[1.0], [3.0]]), torch.tensor([[4.0], [4.0], [4.0], [8.0]]))


def restated(net: nn.Module, passes: tuple[Tensor, ...] = PASSES) -> None:
    restate_statistics({"G": net}, [partial(net, x) for x in passes])


def stale(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    """In evaluation mode, with statistics of something else."""
    norm(torch.randn(8, norm.num_features) * 5 + 20)
    return norm.eval()


@pytest.mark.parametrize("momentum", [0.1, 0.9, None])
def test_statistics_are_plain_means_over_passes(momentum: float | None) -> None:
    norm = stale(nn.BatchNorm1d(1, momentum=momentum))
    restated(norm)
    assert norm.running_mean == 3.5
    assert norm.running_var == 3.0
    assert norm.num_batches_tracked == 2
    assert norm.momentum == momentum
    assert not norm.training


def test_a_later_norm_sees_what_an_earlier_one_makes_of_the_same_batch() -> None:
    """Normalised rows: variance 1, and unbiased n / (n - 1), of two rows 2 and of four 4 / 3."""
    norms = nn.Sequential(*(stale(nn.BatchNorm1d(1, eps=1e-12)) for _ in range(2)))
    restated(norms)
    assert norms[0].running_mean == 3.5
    torch.testing.assert_close(norms[1].running_mean, torch.tensor([0.0]), atol=1e-7, rtol=0)
    torch.testing.assert_close(norms[1].running_var, torch.tensor([(2 + 4 / 3) / 2]))


def test_all_networks_and_norms_inside_others_count() -> None:
    steered = ClassConditionalNorm(nn.BatchNorm2d(1, affine=False), classes=2, channels=1).eval()
    plain = nn.ModuleDict({"deep": nn.Sequential(stale(nn.BatchNorm1d(1)))}).eval()

    def forward(x: Tensor) -> None:
        steered(x[:, :, None, None], torch.zeros(len(x), dtype=torch.int64))
        plain["deep"](-x)

    restate_statistics({"G": steered, "F": plain}, [partial(forward, x) for x in PASSES])
    assert steered.norm.running_mean == 3.5
    assert steered.norm.running_var == 3.0
    assert plain["deep"][0].running_mean == -3.5


def test_weights_are_used_as_they_are_and_without_a_graph() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)).eval()
    for p in net.parameters():
        nn.init.constant_(p, 2.0)
    made: list[Tensor] = []
    restate_statistics({"G": net}, [lambda x=x: made.append(net(x)) for x in PASSES])
    assert net[1].running_mean == 2 * 3.5 + 2
    assert net[1].running_var == 4 * 3.0
    assert all(p.item() == 2.0 for p in net.parameters())
    assert [x.requires_grad for x in made] == [False, False]


def test_dropout_stays_off() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(1)).eval()
    restated(net, (torch.ones(4, 1), torch.ones(4, 1)))
    assert net[1].running_mean == 1.0
    assert net[1].running_var == 0.0
    assert not any(m.training for m in net.modules())


def test_all_is_put_back_where_a_pass_fails() -> None:
    net = nn.Sequential(nn.Dropout(), *(nn.BatchNorm1d(1, momentum=m) for m in (0.1, 0.3, None)))
    net.eval()

    def fail() -> None:
        assert [m.training for m in net] == [False, True, True, True]
        assert [norm.momentum for norm in net[1:]] == [None] * 3
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        restate_statistics({"G": net}, [partial(net, PASSES[0]), fail])
    assert [norm.momentum for norm in net[1:]] == [0.1, 0.3, None]
    assert not any(m.training for m in net.modules())


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(1, 1),
        lambda: nn.InstanceNorm1d(1),
        lambda: nn.InstanceNorm1d(1, track_running_stats=True),
        lambda: nn.BatchNorm1d(1, track_running_stats=False),
    ],
    ids=["linear", "instance", "instance with statistics", "batch without"],
)
def test_nothing_is_run_without_statistics_of_batches(make: Callable[[], nn.Module]) -> None:
    """Not even asked for: making a pass's pictures costs time."""

    def passes() -> object:
        raise AssertionError("asked for")
        yield

    restate_statistics({"G": make().eval()}, passes())  # type: ignore[arg-type]


def test_instance_norms_beside_are_left_alone() -> None:
    instance = nn.InstanceNorm1d(1, track_running_stats=True, momentum=0.3)
    instance(torch.randn(2, 1, 4) * 5 + 20)
    net = nn.Sequential(instance, nn.BatchNorm1d(1)).eval()
    before = {key: value.clone() for key, value in instance.state_dict().items()}
    restated(net, (torch.randn(2, 1, 4), torch.randn(2, 1, 4)))
    assert all(torch.equal(value, before[k]) for k, value in instance.state_dict().items())
    assert instance.momentum == 0.3
    assert net[1].num_batches_tracked == 2
