"""All networks, by the name that a recipe and a model file give them."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from gan_core.networks.autoencoder import BEGANAutoencoder, BEGANGenerator, ConvAutoencoder
from gan_core.networks.biggan import BigGANDiscriminator, BigGANGenerator
from gan_core.networks.bottleneck import BottleneckDiscriminator, BottleneckGenerator
from gan_core.networks.codes import CodeHead
from gan_core.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from gan_core.networks.encoder import DCGANEncoder
from gan_core.networks.mlp import Mapping as MLPMapping
from gan_core.networks.mlp import PointDiscriminator, PointGenerator
from gan_core.networks.progressive import ProgressiveGenerator
from gan_core.networks.progressive_discriminator import ProgressiveDiscriminator
from gan_core.networks.residual import ResidualDiscriminator, ResidualGenerator
from gan_core.networks.text import TextDiscriminator, TextGenerator
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
    "dcgan-encoder": DCGANEncoder,
    "residual": ResidualGenerator,
    "residual-discriminator": ResidualDiscriminator,
    "bottleneck": BottleneckGenerator,
    "bottleneck-discriminator": BottleneckDiscriminator,
    "biggan": BigGANGenerator,
    "biggan-discriminator": BigGANDiscriminator,
    "autoencoder": ConvAutoencoder,
    "began": BEGANGenerator,
    "began-autoencoder": BEGANAutoencoder,
    "mlp": PointGenerator,
    "mlp-discriminator": PointDiscriminator,
    "mapping": MLPMapping,
    "code-head": CodeHead,
    "progressive": ProgressiveGenerator,
    "progressive-discriminator": ProgressiveDiscriminator,
    "text": TextGenerator,
    "text-discriminator": TextDiscriminator,
}


def rebuild(description: Mapping[str, Any]) -> nn.Module:
    """The network that a model file describes as {"kind": ..., "arguments": {...}}."""
    if description["kind"] not in NETWORKS:
        raise ValueError(
            f"network kind {description['kind']!r} is not known here: {', '.join(NETWORKS)}"
        )
    return NETWORKS[description["kind"]](**description["arguments"])
