"""Random numbers of samples: the same for two processes as for one, and unlike torch's own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan_core import distributed, sampling

Draw = Callable[..., Tensor]
LIKE = torch.zeros((), dtype=torch.float64)


def be(rank: int, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand for one process of several."""
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    monkeypatch.setattr(distributed, "world", lambda: world)


def correlation(a: Tensor, b: Tensor) -> float:
    return abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item())


@pytest.mark.parametrize("world", [2, 3])
def test_the_parts_of_all_processes_are_the_whole_batch(
    world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draws(rows: int) -> list[Tensor]:
        """One after the other, as in a step: latents, mixing weights, latents again."""
        sampling.seed(7)
        return [
            sampling.normal(rows, 5, like=LIKE),
            sampling.uniform(rows, 1, 1, 1, like=LIKE),
            sampling.normal(rows, like=LIKE),
        ]

    whole = draws(4 * world)
    parts = []
    for rank in range(world):
        be(rank, world, monkeypatch)
        parts.append(draws(4))
    for one, several in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(one, torch.cat(several))


def test_shape_and_type_are_those_asked_for() -> None:
    like = torch.zeros(9, 9, dtype=torch.float32)
    drawn = sampling.normal(3, 2, 4, like=like)
    assert drawn.shape == (3, 2, 4)
    assert (drawn.dtype, drawn.device) == (like.dtype, like.device)
    assert sampling.uniform(2, like=LIKE).dtype == torch.float64


def test_distributions() -> None:
    """Moments within four standard errors; a uniform draw fills [0, 1) and no more."""
    sampling.seed(1)
    n = 100_000
    z, u = sampling.normal(n, like=LIKE), sampling.uniform(n, like=LIKE)
    assert abs(z.mean()) < 4 / n**0.5
    assert abs(z.square().mean() - 1) < 4 * (2 / n) ** 0.5
    assert abs(u.mean() - 1 / 2) < 4 / (12 * n) ** 0.5
    assert 0 <= u.min() < 1e-3
    assert 1 - 1e-3 < u.max() < 1


def test_a_seed_begins_anew() -> None:
    def draws(seed: int) -> list[Tensor]:
        sampling.seed(seed)
        return [sampling.normal(4, like=LIKE) for _ in range(2)]

    first, again, other = draws(3), draws(3), draws(4)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


def test_torch_itself_is_seeded_differently_in_each_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On rank 0 with the number itself; nothing that two streams draw is alike."""
    streams = []
    for rank in range(3):
        be(rank, 3, monkeypatch)
        sampling.seed(2**62)
        streams.append(torch.rand(20_000, dtype=torch.float64))
    streams.append(sampling.uniform(20_000, like=LIKE))
    torch.manual_seed(2**62)
    assert torch.equal(streams[0], torch.rand(20_000, dtype=torch.float64))
    for i, one in enumerate(streams):
        for other in streams[:i]:
            assert correlation(one, other) < 4 / 20_000**0.5


@pytest.mark.parametrize("draw", [sampling.normal, sampling.uniform])
def test_other_randomness_does_not_move_it(draw: Draw) -> None:
    sampling.seed(5)
    expected = [draw(2, like=LIKE), draw(2, like=LIKE)]
    sampling.seed(5)
    first = draw(2, like=LIKE)
    torch.rand(10)  # dropout, say
    assert torch.equal(first, expected[0])
    assert torch.equal(draw(2, like=LIKE), expected[1])


class Generator(nn.Module):
    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_latents_are_a_row_for_each_sample(dtype: torch.dtype) -> None:
    """Of a step's own numbers, in turn with whatever else the step draws."""
    batch = torch.zeros(3, 1, 4, 4, dtype=dtype)
    sampling.seed(5)
    drawn = [sampling.latents(Generator(7), batch), sampling.latents(Generator(7), batch)]
    sampling.seed(5)
    expected = [sampling.normal(3, 7, like=batch), sampling.normal(3, 7, like=batch)]
    assert all(map(torch.equal, drawn, expected))
    assert drawn[0].shape == (3, 7)
    assert drawn[0].dtype == dtype
    assert not drawn[0].equal(drawn[1])


def test_latents_outside_a_step_come_from_a_generator_of_ones_own() -> None:
    """The same pictures whatever is trained between, in float32's numbers for every dtype."""
    batch = torch.zeros(3, 2, dtype=torch.float64)
    sampling.seed(5)
    expected = sampling.normal(2, like=batch)
    sampling.seed(5)
    state = torch.get_rng_state()
    generator = torch.Generator().manual_seed(1)
    drawn = [sampling.latents(Generator(7), batch, generator) for _ in range(2)]
    assert sampling.normal(2, like=batch).equal(expected), "the step's stream stands still"
    assert torch.get_rng_state().equal(state)
    generator.manual_seed(1)
    for z in drawn:
        assert z.dtype == torch.float64
        assert z.equal(torch.randn(3, 7, generator=generator).double())


def test_latents_without_numbers() -> None:
    z = sampling.latents(Generator(7), torch.empty(3, 2, device="meta"))
    assert (z.shape, z.is_meta) == ((3, 7), True)
