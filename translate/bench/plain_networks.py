"""The papers' networks in layers of ``torch.nn``: what the plain way trains.

Written from Zhu et al. 2017, section 7.2, and Isola et al. 2017, appendix 6.1, with activations in
place as in the authors' code. Arguments and parameter names are those of ``translate.networks``, so
that both ways can begin with the same weights; nothing else is shared with them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "instance": nn.InstanceNorm2d,
    "batch": nn.BatchNorm2d,
}


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, norm: str, dropout: bool) -> None:
        super().__init__()
        bias = norm != "batch"
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            NORMS[norm](channels),
            nn.ReLU(True),
            *([nn.Dropout(0.5)] if dropout else []),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            NORMS[norm](channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv_block(x)
        return out


class Skip(nn.Module):
    """The layers around a U-Net's coarser ones, beside what they were given."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.model(x)], 1)


class _Model(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


def resnet(
    in_channels: int,
    out_channels: int,
    size: int,
    *,
    filters: int,
    blocks: int | str,
    norm: str,
    dropout: bool,
) -> nn.Module:
    """c7s1-64, d128, d256, R256 six or nine times, u128, u64, c7s1-3."""
    count = (9 if size > 192 else 6) if blocks == "auto" else int(blocks)
    bias = norm != "batch"
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(in_channels, filters, 7, bias=bias)]
    layers += [NORMS[norm](filters), nn.ReLU(True)]
    for width in (filters, 2 * filters):
        layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=bias)]
        layers += [NORMS[norm](2 * width), nn.ReLU(True)]
    layers += [ResidualBlock(4 * filters, norm, dropout) for _ in range(count)]
    for width in (4 * filters, 2 * filters):
        half = width // 2
        layers += [nn.ConvTranspose2d(width, half, 3, 2, 1, output_padding=1, bias=bias)]
        layers += [NORMS[norm](half), nn.ReLU(True)]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(filters, out_channels, 7), nn.Tanh()]
    return _Model(nn.Sequential(*layers))


def unet(
    in_channels: int,
    out_channels: int,
    size: int,
    *,
    filters: int,
    depth: int | str,
    norm: str,
    dropout: bool,
) -> nn.Module:
    """C64-C128-C256-C512-... down and up again, skips between equal resolutions."""
    levels = size.bit_length() - 1 if depth == "auto" else int(depth)
    bias = norm != "batch"
    widths = [filters * min(2**level, 8) for level in range(levels)]

    def down(wide: int, out: int) -> nn.Module:
        return nn.Conv2d(wide, out, 4, stride=2, padding=1, bias=bias)

    def up(wide: int, out: int) -> nn.Module:
        return nn.ConvTranspose2d(wide, out, 4, stride=2, padding=1, bias=bias)

    inner = Skip(
        nn.LeakyReLU(0.2, True),
        down(widths[-2], widths[-1]),
        nn.ReLU(True),
        up(widths[-1], widths[-2]),
        NORMS[norm](widths[-2]),
    )
    for level in range(levels - 2, 0, -1):
        outer, width = widths[level - 1], widths[level]
        inner = Skip(
            nn.LeakyReLU(0.2, True),
            down(outer, width),
            NORMS[norm](width),
            inner,
            nn.ReLU(True),
            up(2 * width, outer),
            NORMS[norm](outer),
            *([nn.Dropout(0.5)] if dropout and level >= 4 else []),
        )
    first = nn.Conv2d(in_channels, filters, 4, stride=2, padding=1, bias=bias)
    last = nn.ConvTranspose2d(2 * filters, out_channels, 4, stride=2, padding=1)
    return _Model(_Model(nn.Sequential(first, inner, nn.ReLU(True), last, nn.Tanh())))


def patch(in_channels: int, size: int, *, filters: int, layers: int, norm: str) -> nn.Module:
    """C64-C128-C256-C512 and a score for each patch."""
    bias = norm != "batch"
    stack = [nn.Conv2d(in_channels, filters, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
    width = filters
    for level in range(1, layers + 1):
        wider, stride = filters * min(2**level, 8), 2 if level < layers else 1
        stack += [nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=bias)]
        stack += [NORMS[norm](wider), nn.LeakyReLU(0.2, True)]
        width = wider
    return _Model(nn.Sequential(*stack, nn.Conv2d(width, 1, 4, stride=1, padding=1)))


NETWORKS: dict[str, Callable[..., nn.Module]] = {"resnet": resnet, "unet": unet, "patch": patch}


def plain_network(kind: str, arguments: dict[str, Any]) -> nn.Module:
    """A recipe's network; ValueError for what the papers do not have."""
    besides = ("init", "init_gain", "recompute")  # say how it begins, and how it is computed
    chosen = {key: value for key, value in arguments.items() if key not in besides}
    if chosen.pop("weights", "free") != "free" or kind not in NETWORKS:
        raise ValueError(f"the plain way has no network of kind {kind!r} with such weights")
    if chosen["norm"] not in NORMS:
        raise ValueError(f"the plain way has no norm {chosen['norm']!r}: {', '.join(NORMS)}")
    return NETWORKS[kind](**chosen)
