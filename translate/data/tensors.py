"""Pictures as tensors, and back: the whole range of the array's type is [-1, 1]."""

import numpy as np
import torch
from torch import Tensor


def to_tensor(image: np.ndarray) -> Tensor:
    """[H, W, C] of uint8 or uint16 -> float32 [C, H, W]: v / (max / 2) - 1, in [-1, 1]."""
    values = image.transpose(2, 0, 1).astype(np.float32, order="C")
    values /= np.iinfo(image.dtype).max / 2
    values -= 1
    return torch.from_numpy(values)


def to_image(tensor: Tensor, dtype: type[np.uint8] | type[np.uint16] = np.uint8) -> np.ndarray:
    """[C, H, W] of any floating type, on any device -> [H, W, C] of ``dtype``.

    The inverse of ``to_tensor``: clipped to [-1, 1], then rounded to the nearest value; every uint8
    and uint16 value comes back exactly from float32. Raises ValueError for NaN.
    """
    values = tensor.detach().to("cpu", torch.float32).permute(1, 2, 0).numpy()
    if np.isnan(values).any():
        raise ValueError("a picture with NaN cannot be shown: the network has diverged")
    half = np.iinfo(dtype).max / 2
    return np.ascontiguousarray(np.rint((values.clip(-1, 1) + 1) * half).astype(dtype))
