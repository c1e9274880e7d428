"""Networks of the translation methods, by the name that a recipe and a model file give them."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from gan_core.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from translate.networks.patch import PatchDiscriminator, PixelDiscriminator
from translate.networks.resnet import ResnetGenerator
from translate.networks.unet import UNetGenerator

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet": ResnetGenerator,
    "unet": UNetGenerator,
    "patch": PatchDiscriminator,
    "pixel": PixelDiscriminator,
    "dcgan": DCGANGenerator,
    "dcgan-discriminator": DCGANDiscriminator,
}


def rebuild(description: Mapping[str, Any]) -> nn.Module:
    """The network that a model file describes as {"kind": ..., "arguments": {...}}."""
    if description["kind"] not in NETWORKS:
        raise ValueError(
            f"network kind {description['kind']!r} is not known here: {', '.join(NETWORKS)}"
        )
    return NETWORKS[description["kind"]](**description["arguments"])
