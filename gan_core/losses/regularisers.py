"""Terms that ask something of a network or its output whatever the pictures are.

Without their weights. Everything is computed in float32 at least, with autocast off.
"""

import torch
from torch import Tensor, nn

from gan_core.precision import uncast, upcast


def orthogonality(net: nn.Module) -> Tensor:
    """sum over weights of ||W W^T ∘ (1 - I)||_F^2: outputs' weight vectors at right angles.

    Brock et al. 2019, section 3.1, without its beta; their lengths are free. The authors' code adds
    half of this term's gradient. W is [outputs, rest] of every convolution and linear layer, under
    spectral norm the raw one; gains, biases and vectors of classes are left alone.
    """
    terms = []
    for layer in net.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            (w,) = (p for name, p in layer.named_parameters() if "weight" in name)
            transposed = isinstance(layer, nn.ConvTranspose2d)
            terms.append(overlap((w.transpose(0, 1) if transposed else w).flatten(1)))
    return torch.stack(terms).sum()


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
