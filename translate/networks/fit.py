"""Pictures of any size for networks that take only some."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import pad


def fit(batch: Tensor, multiple: int, smallest: int) -> Tensor:
    """Extend [B, C, H, W] right and bottom to sides that are multiples, ``smallest`` at the least.

    By the picture mirrored or, where it is too small for that, by its last row and column.
    """
    height, width = batch.shape[2:]
    sides = [max(smallest, -(-side // multiple) * multiple) for side in (height, width)]
    extra = (0, sides[1] - width, 0, sides[0] - height)
    if not any(extra):
        return batch
    mirror = extra[1] < width and extra[3] < height
    return pad(batch, extra, mode="reflect" if mirror else "replicate")


def at_any_size(
    net: Callable[[Tensor], Tensor], batch: Tensor, multiple: int, smallest: int
) -> Tensor:
    """``net`` on the extended batch, its output cut back to the batch's own sides."""
    height, width = batch.shape[2:]
    return net(fit(batch, multiple, smallest))[:, :, :height, :width]
