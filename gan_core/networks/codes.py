"""Q: guesses of codes from a discriminator's activations.

Papers: Chen et al. 2016, InfoGAN, and the authors' code (a hidden layer on D's last activation);
ProInfoGAN's code (Stopa 2018: a linear unit for each code, on maps of several resolutions).
"""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from gan_core.blocks.equalised import EqualisedLinear
from gan_core.blocks.initialisation import initialise

Shape = Sequence[int]


class CodeHead(nn.Module):
    """All of D's activations before its scores, in order -> [B, n] for each group of codes.

    n numbers: logits of categories, means of continuous codes. What a group is guessed from is
    flattened, and a linear layer follows, behind a hidden one (linear, batch norm, LeakyReLU 0.1)
    or alone. Groups whose maps are not there, in a D that grows, are left out.

    activations: shapes without the batch, at full size.
    outputs: n of each group.
    scales: of each group, what it is guessed from: the last maps of so many rows (times aspect's
        rows), as ``size`` counts them. () for one group: from the last activation.
    hidden: width of the hidden layers, 128 in InfoGAN's code; 0: none, as in ProInfoGAN's.
    equalised: linear layers have an equalised learning rate, see ``gan_core.blocks.equalised``;
        else first weights are N(0, 0.02).
    Deviations from ProInfoGAN: maps are taken before they are halved, and those of 4 x 4 before the
    layers that follow them, where the author's are behind both.
    """

    def __init__(
        self,
        activations: tuple[tuple[int, ...], ...],
        outputs: tuple[int, ...],
        scales: tuple[int, ...],
        aspect: tuple[int, int] = (1, 1),
        *,
        hidden: int = 128,
        equalised: bool = False,
    ) -> None:
        super().__init__()
        if hidden < 0:
            raise ValueError(f"hidden must be 0 or more, not {hidden}")
        self.rows = [scale * aspect[0] for scale in scales]
        read = [activations[place] for place in self._read(activations)]
        if len(read) < len(outputs):
            known = sorted({shape[1] // aspect[0] for shape in activations if len(shape) == 3})
            raise ValueError(
                f"code_scales = {scales}: the discriminator has maps of "
                f"{', '.join(map(str, known)) or 'no scale'}"
            )
        linear = EqualisedLinear if equalised else nn.Linear
        self.groups = nn.ModuleList()
        for shape, count in zip(read, outputs, strict=True):
            width, before = prod(shape), []
            if hidden:
                before = [
                    linear(width, hidden, bias=False),
                    nn.BatchNorm1d(hidden),
                    nn.LeakyReLU(0.1, inplace=True),
                ]
            end = linear(hidden or width, count)
            self.groups.append(nn.Sequential(nn.Flatten(), *before, end))
        if not equalised:
            initialise(self, "normal", 0.02)

    def forward(self, *activations: Tensor) -> list[Tensor]:
        read = self._read([x.shape[1:] for x in activations])
        pairs = zip(self.groups, read, strict=False)
        return [group(activations[place]) for group, place in pairs]

    def _read(self, shapes: Sequence[Shape]) -> list[int]:
        """Places of the activations that the present groups are guessed from."""
        if not self.rows:
            return [len(shapes) - 1]
        maps = {shape[1]: place for place, shape in enumerate(shapes) if len(shape) == 3}
        return [maps[rows] for rows in self.rows if rows in maps]
