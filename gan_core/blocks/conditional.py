"""Layers that a class label steers."""

import torch
from torch import Tensor, nn


class ClassConditionalNorm(nn.Module):
    """gain[label] * norm(x) + bias[label], a gain and a bias per class and channel.

    x [B, channels, H, W], labels [B] int64 in [0, classes) -> like x. Gains start at 1 and biases
    at 0, so that at first every class sees the plain ``norm``, a layer without affine of its own.
    Papers: Dumoulin et al. 2017, equation 5; in a GAN's generator Miyato & Koyama 2018, section 5.
    """

    def __init__(self, norm: nn.Module, classes: int, channels: int) -> None:
        super().__init__()
        self.norm = norm
        self.gain = nn.Parameter(torch.ones(classes, channels))
        self.bias = nn.Parameter(torch.zeros(classes, channels))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        gain, bias = self.gain[labels, :, None, None], self.bias[labels, :, None, None]
        # Under autocast x has 16 bits and the gains 32: what is kept for the backward has x's.
        return (gain * self.norm(x) + bias).to(x.dtype)


def needed(labels: Tensor | None) -> Tensor:
    """The labels; ValueError where there are none."""
    if labels is None:
        raise ValueError("labels are missing: the network was built with classes")
    return labels
