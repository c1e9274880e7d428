"""What a discriminator sees of a batch: whether its pictures are too much alike.

Samples see each other through this and through ``gan_core.kernels.deviation``, and a batch of one
tells nothing. Of several processes each looks at its own samples.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gan_core.blocks.equalised import EqualisedLinear
from gan_core.precision import upcast


class MinibatchDiscrimination(nn.Module):
    """x [B, inputs] -> [B, kernels], o_b(i) = sum over j != i of exp(-||M_ib - M_jb||_1).

    M = x T, a row of ``dims`` numbers for each sample and kernel: Salimans et al. 2016, section
    3.2. Deviations from their code: T is equalised instead of weight-normalised and scaled by the
    first batch, and there is no bias.

    chunk: differences, of which there are B^2 * kernels * dims, that are held at a time.
    """

    def __init__(
        self, inputs: int, kernels: int = 100, dims: int = 5, chunk: int = 1 << 24
    ) -> None:
        super().__init__()
        self.kernels, self.chunk = kernels, chunk
        self.project = EqualisedLinear(inputs, kernels * dims, bias=False, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        m = upcast(self.project(x))
        rows = max(self.chunk // m.numel(), 1)
        m = m.unflatten(1, (self.kernels, -1))
        # Differences are computed again on the way back: kept, they would be there all at once.
        parts = [
            checkpoint(_closeness, part, m, use_reentrant=False, preserve_rng_state=False)
            for part in m.split(rows)
        ]
        return (torch.cat(parts) - 1).to(x.dtype)  # i itself is at no distance


def _closeness(part: Tensor, m: Tensor) -> Tensor:
    """[N, kernels] of [N, kernels, dims] and all samples' [B, kernels, dims]."""
    return (-(part[:, None] - m).abs().sum(-1)).exp().sum(1)
