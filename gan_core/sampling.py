"""Random numbers inside a step.

Those that belong to the samples of a batch (latents, mixing weights) come from ``normal`` and
``uniform``: every process (``gan_core.distributed``) draws them for the whole batch and keeps the
rows of its own samples, so that several processes use the numbers that one would use, as long as
all draw in the same order. Whatever else is random (dropout, a history of pictures) comes from
torch's own generator, which goes its own way in each process.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_core import distributed

_number = 0
_generators: dict[torch.device, torch.Generator] = {}


def seed(number: int) -> None:
    """Begin anew, torch's own generator with number + rank; the trainer does at every step."""
    global _number
    torch.manual_seed(number + distributed.rank())
    _number = ~number  # what torch's own draws on any rank must not come a second time here
    _generators.clear()


def normal(rows: int, *shape: int, like: Tensor) -> Tensor:
    """[rows, *shape] from N(0, 1), of the device and dtype of ``like``.

    rows: samples of this process; every process must have as many.
    """
    return _rows(torch.randn, rows, shape, like)


def uniform(rows: int, *shape: int, like: Tensor) -> Tensor:
    """[rows, *shape] from [0, 1); otherwise as ``normal``."""
    return _rows(torch.rand, rows, shape, like)


def latent_of(G: nn.Module) -> int:
    """How many numbers a generator is drawn from."""
    assert isinstance(G.latent, int)
    return G.latent


def latents(G: nn.Module, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """[B, G.latent] from N(0, 1) for as many samples as ``like`` has, of its device and dtype.

    generator: a CPU one to draw from, outside a step.
    """
    if generator is None:
        return normal(len(like), latent_of(G), like=like)
    return torch.randn(len(like), latent_of(G), generator=generator).to(like)


def _rows(draw: Callable[..., Tensor], rows: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    if like.is_meta:
        return like.new_empty(rows, *shape)  # shapes alone
    if like.device not in _generators:
        _generators[like.device] = torch.Generator(like.device).manual_seed(_number)
    whole = draw(
        rows * distributed.world(),
        *shape,
        generator=_generators[like.device],
        device=like.device,
        dtype=like.dtype,
    )
    return whole[rows * distributed.rank() :][:rows]
