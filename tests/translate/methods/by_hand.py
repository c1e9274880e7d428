"""What the trainings by hand share: objectives from their papers' formulas, and route tables."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

import gan_core.trainer

# What is minimised, of scores: real and fake by the discriminator, fake by the generator.
DISCRIMINATOR: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    # Goodfellow et al. 2014: -log D = log(1 + exp(-score)), -log(1 - D) = log(1 + exp(score))
    "vanilla": lambda real, fake: (1 + (-real).exp()).log().mean() + (1 + fake.exp()).log().mean(),
    "lsgan": lambda real, fake: ((real - 1) ** 2).mean() + (fake**2).mean(),  # Mao et al. 2017
    "hinge": lambda real, fake: (
        (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()  # Miyato et al. 2018
    ),
    "wgan": lambda real, fake: fake.mean() - real.mean(),  # Arjovsky et al. 2017
}
GENERATOR: dict[str, Callable[[Tensor], Tensor]] = {
    "vanilla": lambda fake: (1 + (-fake).exp()).log().mean(),
    "lsgan": lambda fake: ((fake - 1) ** 2).mean(),
    "hinge": lambda fake: -fake.mean(),
    "wgan": lambda fake: -fake.mean(),
}


def distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean()


def activations(layers: nn.Sequential, x: Tensor) -> list[Tensor]:
    """What each of a patch discriminator's hidden layers makes of x, the scores left out."""
    seen = []
    for layer in layers:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            seen.append(x)
    return seen


def slope_penalty(
    score: Callable[[Tensor, int], Tensor], real: Tensor, fake: Tensor, mixes: Tensor
) -> Tensor:
    """Gulrajani et al. 2017, equation 3, sample after sample; score(picture, number of sample)."""
    costs = []
    for i, mix in enumerate(mixes):
        x = (mix * real[i : i + 1] + (1 - mix) * fake[i : i + 1]).detach().requires_grad_()
        (slope,) = torch.autograd.grad(score(x, i).mean(), x, create_graph=True)
        costs.append((slope.square().sum().sqrt() - 1) ** 2)
    return torch.stack(costs).mean()


class PaperPool:
    """CycleGAN's section 4: discriminators see a history of generated pictures.

    The methods ask the global generator for a number in [0, 1) and, where they swap, for a place
    among those of the picture's class, for one picture after the other. Here too: under the same
    seed both make the same draws.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.history: list[tuple[int, Tensor]] = []
        self.swaps = 0

    def show(self, pictures: Tensor, classes: Sequence[int] | None = None) -> Tensor:
        shown = []
        for new in zip(classes or [0] * len(pictures), pictures.detach(), strict=True):
            out = new
            if len(self.history) < self.size:
                self.history.append(new)
            elif self.size and torch.rand(()).item() >= 0.5:
                alike = [i for i in range(self.size) if self.history[i][0] == new[0]]
                if alike:
                    place = alike[torch.randint(len(alike), ()).item()]
                    self.history[place], out = new, self.history[place]
                    self.swaps += 1
            shown.append(out[1])
        return torch.stack(shown)


def step_seeds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with what the trainer seeds a step with, once before each step."""
    seeds: list[int] = []
    seed_of = gan_core.trainer._seed

    def listening(*numbers: int) -> int:
        seeds.append(seed_of(*numbers))
        return seeds[-1]

    monkeypatch.setattr(gan_core.trainer, "_seed", listening)
    return seeds


def furthest(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max((p - q).abs().max().item() for p, q in pairs)


TRAINS, THROUGH, NOTHING = "trains", "passes through", "not touched"


def table(names: str, *rows: str) -> dict[str, dict[str, str]]:
    """Rows ``term | G D ...`` with T, >, and a dot for not touched; ``names`` of the columns."""
    words = {"T": TRAINS, ">": THROUGH, ".": NOTHING}
    lines = [row.split("|") for block in rows for row in block.strip().splitlines()]
    return {
        term.strip(): dict(zip(names.split(), (words[w] for w in cells.split()), strict=True))
        for term, cells in lines
    }
