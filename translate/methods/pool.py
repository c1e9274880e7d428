"""A history of generated pictures for discriminators to look back on.

Shrivastava et al. 2017 (SimGAN), section 2.3, in the form that CycleGAN's authors use.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class HistoryPool:
    """Keeps up to ``size`` pictures; 0 keeps none and returns what it is given."""

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"pool_size must be 0 or more pictures, not {size}")
        self.size = size
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> as many, detached: each is the one given or, with probability 1/2 once
        the pool is full, a random older one, whose place the given one takes.
        """
        images = images.detach()
        if self.size == 0:
            return images
        return torch.stack([self._exchange(image) for image in images])

    def _exchange(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if torch.rand(()) < 0.5:
            return image
        place = int(torch.randint(self.size, ()))
        older, self.images[place] = self.images[place], image.clone()
        return older

    def state_dict(self) -> dict[str, Any]:
        return {"images": list(self.images)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.images = list(state["images"])
