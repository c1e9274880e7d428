"""Residual networks along a line of characters.

Paper: Gulrajani et al. 2017, section 5.5, and the authors' ``gan_language.py``. Characters are
distributions over a vocabulary: the generator's softmax goes to the discriminator as it is, without
a draw, and real lines are one-hot.
"""

import math

from torch import Tensor, nn

from gan_core.blocks.shapes import check_counts
from gan_core.blocks.weights import Weights, hold_weights
from gan_core.precision import upcast

KERNEL, SHARE = 5, 0.3


class _Block(nn.Module):
    """x + 0.3 h, with h = conv(ReLU(conv(ReLU(x)))): [B, filters, length] to the same."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(filters, filters, KERNEL, padding=KERNEL // 2),
            nn.ReLU(inplace=True),
            nn.Conv1d(filters, filters, KERNEL, padding=KERNEL // 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + SHARE * self.residual(x)


class TextGenerator(nn.Module):
    """z [B, latent] -> [B, out_channels, length]: at each place a distribution over characters.

    A linear layer takes z to ``filters`` channels at every place, then ``blocks`` residual blocks
    of two convolutions of 5, a convolution of 1, and the softmax over characters, in float32.
    15,278,182 parameters with a vocabulary of 102 and 32 places.
    """

    def __init__(
        self,
        out_channels: int,
        length: int,
        *,
        latent: int = 128,
        filters: int = 512,
        blocks: int = 5,
    ) -> None:
        super().__init__()
        check_counts(length=length, latent=latent, filters=filters, blocks=blocks)
        self.latent, self.length = latent, length
        self.start = nn.Linear(latent, filters * length)
        self.blocks = nn.Sequential(*(_Block(filters) for _ in range(blocks)))
        self.end = nn.Conv1d(filters, out_channels, 1)
        _draw_first_weights(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.start(z).unflatten(1, (-1, self.length))
        return upcast(self.end(self.blocks(x))).softmax(1)


class TextDiscriminator(nn.Module):
    """x [B, in_channels, length] -> [B, 1] scores, unbounded.

    A convolution of 1, ``blocks`` residual blocks, and a linear layer over channels and places.
    13,181,441 parameters with a vocabulary of 102 and 32 places.
    With features=True: the list of what each block gave, and the scores as its last entry.

    weights: "spectral" or "normalised": see ``gan_core.blocks.weights``.
    """

    def __init__(
        self,
        in_channels: int,
        length: int,
        *,
        filters: int = 512,
        blocks: int = 5,
        weights: Weights = "free",
    ) -> None:
        super().__init__()
        check_counts(length=length, filters=filters, blocks=blocks)
        self.start = nn.Conv1d(in_channels, filters, 1)
        self.blocks = nn.ModuleList(_Block(filters) for _ in range(blocks))
        self.score = nn.Linear(filters * length, 1)
        _draw_first_weights(self)
        hold_weights(self, weights)

    def forward(
        self, x: Tensor, labels: Tensor | None = None, features: bool = False
    ) -> Tensor | list[Tensor]:
        x, seen = self.start(x), []
        for block in self.blocks:
            x = block(x)
            seen.append(x)
        seen.append(self.score(x.flatten(1)))
        return seen if features else seen[-1]


def _draw_first_weights(net: nn.Module) -> None:
    """Uniform, as the authors': a variance of 4 / (in + out) for convolutions, where in and out
    count a kernel's places too, and of 2 / (in + out) for linear layers; biases 0.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            gain = math.sqrt(2) if isinstance(module, nn.Conv1d) else 1.0
            nn.init.xavier_uniform_(module.weight, gain)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
