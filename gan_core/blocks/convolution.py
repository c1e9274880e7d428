"""Convolutions that are matrix products where maps have few places, on a CPU.

The innermost maps of a U-Net have 1 to 64 places under millions of weights. Such a layer costs what
reading its weights costs, and a matrix product reads them as they lie, whereas CPU convolutions
reorder them first, in each direction.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.precision import upcast

PLACES = 64
"""Of all samples' smaller maps together; up to here products were faster, or hardly slower."""


def _few(x: Tensor, places: int) -> bool:
    return x.ndim == 4 and x.device.type == "cpu" and len(x) * places <= PLACES


class Conv2d(nn.Conv2d):
    """``nn.Conv2d``, zero-padded and without groups or dilation."""

    def forward(self, x: Tensor) -> Tensor:
        assert not isinstance(self.padding, str)
        measures = zip(x.shape[-2:], self.kernel_size, self.stride, self.padding, strict=True)
        sides = [(side + 2 * p - k) // stride + 1 for side, k, stride, p in measures]
        if not _few(x, sides[0] * sides[1]):
            return super().forward(x)
        patches = F.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        rows = patches.transpose(1, 2).flatten(0, 1)  # torch makes a product for each sample of 3-D
        y = F.linear(rows, self.weight.flatten(1), self.bias)
        return y.unflatten(0, (len(x), -1)).transpose(1, 2).unflatten(2, sides)


class ConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` without groups, dilation or output padding."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None or not _few(x, x.shape[-2] * x.shape[-1]):
            return super().forward(x, output_size)
        assert not isinstance(self.padding, str)
        measures = zip(x.shape[-2:], self.kernel_size, self.stride, self.padding, strict=True)
        sides = tuple((side - 1) * stride + k - 2 * p for side, k, stride, p in measures)
        rows = x.flatten(2).transpose(1, 2).flatten(0, 1) @ self.weight.flatten(1)
        patches = rows.unflatten(0, (len(x), -1)).transpose(1, 2)
        y = F.fold(
            upcast(patches), sides, self.kernel_size, padding=self.padding, stride=self.stride
        )
        return (y if self.bias is None else y + self.bias[:, None, None]).to(patches.dtype)
