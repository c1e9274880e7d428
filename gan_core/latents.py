"""What a generator is drawn from: priors, truncations, and paths between two latents.

Everything starts from standard normal draws, so that a seed means the same numbers under any prior.

Three things are called truncation, and they differ. ``resampled`` and ``scaled`` are for normal
draws, before a prior; ``towards_mean`` is for what a mapping network made of them. ``scaled`` means
nothing under the prior "sphere", which undoes it.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Prior = Literal["normal", "uniform", "sphere"]


def uniform(z: Tensor) -> Tensor:
    """erf(z / sqrt 2), uniform in [-1, 1]: twice the normal distribution function, less 1."""
    return torch.erf(z / math.sqrt(2))


def sphere(z: Tensor) -> Tensor:
    """sqrt(n) z / ||z||_2: uniform on the sphere on which [B, n] normal draws nearly lie anyway."""
    return math.sqrt(z.shape[1]) * F.normalize(z, dim=1)


PRIORS: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda z: z,
    "uniform": uniform,
    "sphere": sphere,
}


def resampled(z: Tensor, threshold: float, generator: torch.Generator) -> Tensor:
    """Draw components with |z| > threshold again until they lie within (Brock et al. 2019, 3.1).

    Instead of trying again and again each is drawn at once from what trials would end in, the
    normal distribution cut at the threshold, by its inverse distribution function.

    z: normal draws of any shape; threshold above 0
    generator: a CPU one; as many numbers are taken as z has, whatever is within
    """
    if not threshold > 0:
        raise ValueError(f"threshold must be above 0, not {threshold}")
    u = 2 * torch.rand(z.shape, generator=generator, dtype=z.dtype).to(z.device) - 1
    anew = math.sqrt(2) * torch.erfinv(math.erf(threshold / math.sqrt(2)) * u)
    return torch.where(z.abs() > threshold, anew.clamp(-threshold, threshold), z)


def scaled(z: Tensor, sigma: float) -> Tensor:
    """sigma z: draws from N(0, sigma^2), which BigGAN's published PyTorch code calls truncation."""
    return sigma * z


def towards_mean(w: Tensor, mean: Tensor, psi: float) -> Tensor:
    """mean + psi (w - mean): 1 leaves w, 0 gives the mean (Karras et al. 2019, appendix B).

    w: [B, n]; mean: [n], of many w
    """
    return mean + psi * (w - mean)


def linear(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """a + t (b - a): [T, n], from a at t = 0 to b at t = 1. a, b: [n]; t: [T]."""
    return torch.lerp(a, b, t[:, None])


def spherical(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(sin((1 - t) θ) a + sin(t θ) b) / sin θ, θ the angle between a and b; shapes as ``linear``.

    Shoemake 1985; for latents White 2016: a straight line between two normal draws leaves the shell
    that all draws lie on. Vectors of one length keep it. Where a and b are parallel or opposite the
    arc is a line or undefined, and the answer is ``linear``'s.
    """
    u, v = F.normalize(a, dim=0), F.normalize(b, dim=0)
    angle = 2 * torch.atan2(torch.linalg.vector_norm(u - v), torch.linalg.vector_norm(u + v))
    sine = angle.sin()
    t = t[:, None]
    arc = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / sine
    return torch.where(sine > 1e-4, arc, torch.lerp(a, b, t))
