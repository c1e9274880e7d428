"""A history of generated pictures for discriminators to look back on.

Shrivastava et al. 2017 (SimGAN), section 2.3, in the form that CycleGAN's authors use.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gan_core.precision import upcast


class HistoryPool:
    """Keeps up to ``size`` pictures; 0 keeps none and returns what it is given.

    Classes keep the places that they had when the pool became full: ``size`` should be a few times
    their number.
    """

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"pool_size must be 0 or more pictures, not {size}")
        self.size = size
        self.images: list[Tensor] = []
        self.classes: list[int] = []

    def query(self, images: Tensor, classes: Sequence[int] | None = None) -> Tensor:
        """[B, C, H, W] -> as many, detached: each is the one given or, with probability 1/2 once
        the pool is full, a random older one of its class, whose place the given one takes.
        """
        images = upcast(images.detach())  # a step done again in fp32 is shown them too
        if self.size == 0:
            return images
        of = classes or [0] * len(images)
        return torch.stack([self._exchange(*pair) for pair in zip(images, of, strict=True)])

    def _exchange(self, image: Tensor, of: int) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            self.classes.append(of)
            return image
        places = [place for place, other in enumerate(self.classes) if other == of]
        if torch.rand(()) < 0.5 or not places:
            return image
        place = places[int(torch.randint(len(places), ()))]
        older, self.images[place] = self.images[place], image.clone()
        return older

    def state_dict(self) -> dict[str, Any]:
        return {"images": list(self.images), "classes": list(self.classes)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.images, self.classes = list(state["images"]), list(state["classes"])
