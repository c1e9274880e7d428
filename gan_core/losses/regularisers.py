"""Terms that ask something of a network or its output whatever the pictures are.

Without their weights. Everything is computed in float32 at least, with autocast off.
"""

import torch
from torch import Tensor, nn

from gan_core.precision import uncast, upcast


def orthogonality(net: nn.Module) -> Tensor:
    """sum over weights of ||W W^T ∘ (1 - I)||_F^2: outputs' weight vectors at right angles.

    Brock et al. 2019, section 3.1, without its beta; their lengths are free. The authors' code adds
    half of this term's gradient. W is [outputs, rest], every parameter of two or more dimensions
    but those of ``nn.Embedding``: the raw ones, under spectral norm too.
    """
    transposed = _parameters(net, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    embedded = _parameters(net, nn.Embedding)
    return torch.stack(
        [
            overlap((w.transpose(0, 1) if id(w) in transposed else w).flatten(1))
            for w in net.parameters()
            if w.ndim > 1 and id(w) not in embedded
        ]
    ).sum()


def _parameters(net: nn.Module, *kinds: type[nn.Module]) -> set[int]:
    layers = [layer for layer in net.modules() if isinstance(layer, kinds)]
    return {id(p) for layer in layers for p in layer.parameters()}


def overlap(rows: Tensor) -> Tensor:
    """sum over i != j of <r_i, r_j>^2 of the rows of [N, n]."""
    rows = upcast(rows)
    with uncast(rows):
        if len(rows) <= rows.shape[1]:
            products = rows @ rows.T
            return (products - products.diag().diag()).square().sum()
        # A generator's first layer may have 16,000 rows. Where they are more than the columns, the
        # other product has the same norm, is smaller, and cannot be close to the diagonal's.
        lengths = rows.square().sum(1)
        return (rows.T @ rows).square().sum() - lengths.square().sum()


def drift(scores: Tensor) -> Tensor:
    """mean score^2: keeps a critic, which is free to add any number, near 0.

    Karras et al. 2018, appendix A.1, on reals, where its weight is 0.001.
    """
    return upcast(scores).square().mean()
