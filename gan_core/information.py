"""Codes that pictures tell of: InfoGAN's term beside any adversarial loss.

Chen et al. 2016, "InfoGAN"; code groups tied to scales and the consistency of levels are
ProInfoGAN's (Stopa 2018, code and draft: github.com/jonasz/progressive_infogan). Some of the
numbers that G is fed are codes, and a network Q guesses them from what D sees in the pictures.
"""

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gan_core.growth import grows
from gan_core.latents import PRIORS
from gan_core.losses.information import categorical_nll, gaussian_nll
from gan_core.routing import Losses
from gan_core.sampling import latent_of

_ENTROPY = {"uniform": math.log(2), "normal": math.log(2 * math.pi * math.e) / 2}


class Code(NamedTuple):
    """One of the codes.

    start: of its numbers among those of all codes, which are the last that G is fed.
    ways: of a category, which is one-hot; 0 for a continuous code, which is one number.
    uniform: whether that is drawn from [-1, 1], and not from N(0, 1).
    scale: the resolution that it is tied to; 0: none.
    """

    name: str
    start: int
    ways: int
    uniform: bool
    scale: int = 0


class Information:
    """categories: ways of each categorical code; all ways are equally likely. None: off.

    continuous: how many continuous codes there are, of each group. 0: none.
    code_prior: their distribution, "uniform" in [-1, 1] or "normal".
    code_scales: a group of continuous codes for each of these resolutions, powers of two from 4 up
        in rising order, guessed from D's maps of that resolution; groups whose maps are not there,
        in a network that grows, are left out. () is one group, guessed from D's last activation
        before the scores. Categories are guessed with the first group.
    lambda_category: weight of the sum over categorical codes of -log Q(code | picture), in nats.
    lambda_continuous: of the sum over continuous codes; Q is normal with deviation 1. ProInfoGAN's
        10 is by the mean over its 80 codes, which is 0.125 here.
    lambda_consistency: weight of the consistency of a growing generator's levels; 300 in
        ProInfoGAN; 0: off.

    G is fed the prior's noise and behind it the codes: categories, then groups from coarse to fine.
    """

    def __init__(
        self,
        *,
        categories: tuple[int, ...] = (),
        continuous: int = 0,
        code_prior: Literal["uniform", "normal"] = "uniform",
        code_scales: tuple[int, ...] = (),
        lambda_category: float = 1.0,
        lambda_continuous: float = 1.0,
        lambda_consistency: float = 0.0,
    ) -> None:
        if min(categories, default=2) < 2 or continuous < 0:
            raise ValueError(
                "categories must have 2 ways or more each and continuous be 0 or more, not "
                f"{categories}, {continuous}"
            )
        if code_prior not in _ENTROPY:
            raise ValueError(f"code_prior {code_prior!r}: choose {', '.join(_ENTROPY)}")
        if any(scale < 4 or scale & (scale - 1) for scale in code_scales) or (
            list(code_scales) != sorted(set(code_scales))
        ):
            raise ValueError(
                f"code_scales must be powers of two from 4 up in rising order, not {code_scales}"
            )
        if code_scales and not continuous:
            raise ValueError("code_scales are of continuous codes: set continuous to 1 or more")
        if min(lambda_category, lambda_continuous, lambda_consistency) < 0:
            raise ValueError(
                "lambda_category, lambda_continuous and lambda_consistency must be 0 or more, not "
                f"{lambda_category}, {lambda_continuous}, {lambda_consistency}"
            )
        self.categories, self.continuous = categories, continuous
        self.draw, self.entropy = PRIORS[code_prior], _ENTROPY[code_prior]
        self.uniform = code_prior == "uniform"
        self.scales = code_scales
        self.weights = {"category": lambda_category, "continuous": lambda_continuous}
        self.lambda_consistency = lambda_consistency
        # How the codes' numbers are cut: a piece for each category, one for all other codes.
        self.pieces = [*categories, continuous * self._groups]

    @property
    def _groups(self) -> int:
        return max(len(self.scales), 1)

    @property
    def numbers(self) -> int:
        """How many of the numbers that G is fed are codes."""
        return sum(self.pieces)

    @property
    def codes(self) -> tuple[Code, ...]:
        """All of them, in the order in which G is fed."""
        kinds = [(f"category {n}", ways, 0) for n, ways in enumerate(self.categories, 1)]
        kinds += [
            (f"{scale}: code {n + 1}" if scale else f"code {n + 1}", 0, scale)
            for scale in self.scales or (0,)
            for n in range(self.continuous)
        ]
        starts = accumulate((max(ways, 1) for _, ways, _ in kinds), initial=0)
        return tuple(
            Code(name, start, ways, self.uniform, scale)
            for (name, ways, scale), start in zip(kinds, starts, strict=False)
        )

    def fed(self, normal: Tensor, prior: Callable[[Tensor], Tensor]) -> Tensor:
        """[B, n]: what G is fed, of as many normal draws; those of noise go through ``prior``.

        A category's way is that of the largest of its draws.
        """
        if not self.numbers:
            return prior(normal)
        noise, codes = normal[:, : -self.numbers], normal[:, -self.numbers :]
        *categories, rest = codes.split(self.pieces, 1)
        return torch.cat([prior(noise), *map(_one_hot, categories), self.draw(rest)], 1)

    def head(self, build: Callable[..., nn.Module], G: nn.Module, D: nn.Module) -> nn.Module:
        """Q, for a D that judges what G makes. ValueError where one of them has too little for it.

        ``build("codes", ...)`` is given the shapes of D's activations, without the batch, and how
        many numbers are guessed of each group.
        """
        latent = latent_of(G)
        if latent < self.numbers:
            raise ValueError(
                f"networks.generator.latent must be {self.numbers} or more, as so many numbers are "
                f"codes, not {latent}"
            )
        if self.scales:
            self._check_cuts(G)
        outputs = [self.continuous] * self._groups
        outputs[0] += sum(self.categories)
        return build(
            "codes",
            activations=tuple(tuple(seen.shape[1:]) for seen in _activations(G, D)),
            outputs=tuple(outputs),
            scales=self.scales,
        )

    def _check_cuts(self, G: nn.Module) -> None:
        """That a G which feeds parts of its latent to its blocks cuts it as the groups are cut."""
        wanted = [self.continuous] * len(self.scales)
        _, *cut = filter(None, getattr(G, "parts", [1, *wanted]))
        levels = tuple(4 << n for n in range(len(self.scales)))
        if cut != wanted or (grows(G) and self.scales != levels):
            raise ValueError(
                f"code_scales = {self.scales} of {self.continuous} codes do not fit the generator, "
                f"whose blocks are given {cut} numbers of the latent, from coarse to fine: change "
                "one of them (injected and injected_to of a network that grows, latent of biggan)"
            )

    def losses(self, name: str, Q: nn.Module, activations: list[Tensor], fed: Tensor) -> Losses:
        """``category name`` and ``continuous name``, and as a figure ``information name``: the
        bound H(c) + E log Q of the codes that were guessed, in nats.

        activations: D's before its scores, on pictures that G made of ``fed``.
        """
        first, *finer = Q(*activations)
        *logits, first = first.split([*self.categories, self.continuous], 1)
        mean = torch.cat([first, *finer], 1)
        *ways, values = fed[:, -self.numbers :].split(self.pieces, 1)
        costs: Losses = {}
        if logits:
            each = [categorical_nll(*pair) for pair in zip(logits, ways, strict=True)]
            costs["category"] = torch.stack(each).sum()
        if self.continuous:
            costs["continuous"] = gaussian_nll(mean, values[:, : mean.shape[1]])
        entropy = sum(map(math.log, self.categories)) + mean.shape[1] * self.entropy
        bound = entropy - torch.stack(list(costs.values())).sum().detach()
        terms = {f"{kind} {name}": self.weights[kind] * cost for kind, cost in costs.items()}
        return terms | {f"information {name}": bound}


class Listening:
    """D as a judge, of whose calls the activations before the scores are kept."""

    def __init__(self, D: nn.Module) -> None:
        self.D = D
        self.heard: list[list[Tensor]] = []

    def __call__(self, x: Tensor, features: bool = False) -> Any:
        *activations, scores = self.D(x, features=True)
        self.heard.append(activations)
        return [*activations, scores] if features else scores


def _one_hot(normal: Tensor) -> Tensor:
    largest = normal.argmax(1, keepdim=True)
    return torch.zeros_like(normal).scatter(1, largest, 1.0)


def _activations(G: nn.Module, D: nn.Module) -> list[Tensor]:
    """What D sees in pictures by G before its scores, as shapes alone, on the meta device."""
    *activations, _ = _on_meta(D, _on_meta(G, torch.empty(2, latent_of(G))), features=True)
    return activations


def _on_meta(net: nn.Module, x: Tensor, **more: Any) -> Any:
    tensors = [*net.named_parameters(), *net.named_buffers()]
    shapes = {name: tensor.detach().to("meta") for name, tensor in tensors}
    return functional_call(net, shapes, (x.to("meta"),), more)
