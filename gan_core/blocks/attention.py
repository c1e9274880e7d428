"""Self-attention over the places of a map.

Paper: Zhang et al. 2019 (SAGAN), section 3, in the form of its authors' code and of BigGAN's: keys
and values are pooled, and values have half the channels, neither of which the formulas say.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d


class SelfAttention(nn.Module):
    """x [B, channels, H, W] -> x + gamma * o(softmax(q k^T) v), of the same shape.

    q = theta(x) at every place, k = phi(x) and v = g(x) at every second row and column, each the
    largest of 2x2 places (an odd last row or column stands for itself); the softmax is over the
    places of k, and q k^T is not scaled. theta, phi: channels / 8, g: channels / 2, o: back to
    channels, all 1x1 without bias. gamma starts at 0: the layer is the identity at first.

    In plain products: the fused attention of torch has no second derivative, so that a gradient
    penalty through it raises. The matrix q k^T of H W x (H W / 4) numbers per sample is kept.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        self.theta = nn.Conv2d(channels, narrow, 1, bias=False)
        self.phi = nn.Conv2d(channels, narrow, 1, bias=False)
        self.g = nn.Conv2d(channels, half, 1, bias=False)
        self.o = nn.Conv2d(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.theta(x).flatten(2)
        key = max_pool2d(self.phi(x), 2, ceil_mode=True).flatten(2)
        value = max_pool2d(self.g(x), 2, ceil_mode=True).flatten(2)
        weights = (query.transpose(1, 2) @ key).softmax(2)  # [B, places, pooled places]
        seen = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        out: Tensor = x + self.gamma * self.o(seen)
        return out
