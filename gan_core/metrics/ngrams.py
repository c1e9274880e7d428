"""How far the n-grams of two sets of texts are from each other.

Gulrajani et al. 2017, section 5.5, figure 5, as the authors' ``language_helpers.py`` has it: in
bits, over the n-grams that were counted, without smoothing.
"""

import math

import torch
from torch import Tensor


def ngram_divergence(a: Tensor, b: Tensor, n: int) -> float:
    """Jensen-Shannon divergence in bits: H((p + q) / 2) - (H(p) + H(q)) / 2, from 0 to 1.

    p and q are the shares of each n-gram among all that lie whole within a row; 1: none is in both
    sets. Of few rows it is large even where both come from the same source, the more so the longer
    the n-grams: compare it with that of two sets of real rows.

    a, b: [N, L] whole numbers, characters for instance; N may differ, L be n or more
    """
    if n < 1 or min(a.shape[1], b.shape[1]) < n or not len(a) or not len(b):
        raise ValueError(f"no {n}-grams are in rows of shapes {[*a.shape]} and {[*b.shape]}")
    grams = [rows.unfold(1, n, 1).reshape(-1, n) for rows in (a, b)]
    _, kinds = torch.unique(torch.cat(grams), dim=0, return_inverse=True)
    p, q = (
        torch.bincount(part, minlength=int(kinds.max()) + 1).double() / len(part)
        for part in kinds.split([len(part) for part in grams])
    )
    entropies = [torch.special.entr(shares).sum() for shares in ((p + q) / 2, p, q)]
    bits = (entropies[0] - (entropies[1] + entropies[2]) / 2) / math.log(2)
    return float(bits.clamp(0, 1))  # but for rounding it is in there
