"""Codes among the numbers that a generator is fed: their distribution, their order, their names."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_core.information import Code, Information, Listening
from gan_core.latents import PRIORS
from gan_core.networks.biggan import BigGANGenerator
from gan_core.networks.dcgan import DCGANGenerator
from gan_core.networks.progressive import ProgressiveGenerator
from gan_core.networks.progressive_discriminator import ProgressiveDiscriminator

LATENT = 14  # 5 of noise, a category of 4 and one of 2, and three continuous codes


def information(**more: Any) -> Information:
    return Information(**({"categories": (4, 2), "continuous": 3} | more))


def normals(rows: int = 40_000) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, LATENT, generator=generator, dtype=torch.float64)


def identity(z: Tensor) -> Tensor:
    return z


def furthest_from_uniform(values: Tensor, low: float, high: float) -> float:
    """Kolmogorov and Smirnov's statistic times sqrt n: above 1.95 once in a thousand."""
    below = (values.sort().values - low) / (high - low)
    steps = torch.arange(1, len(values) + 1) / len(values)
    return ((below - steps).abs().max() * math.sqrt(len(values))).item()


def test_no_codes_are_the_default() -> None:
    nothing, z = Information(), normals(3)
    assert nothing.fed(z, identity) is z
    assert nothing.numbers == 0
    assert nothing.codes == ()


@pytest.mark.parametrize("prior", ["normal", "uniform", "sphere"])
def test_noise_is_the_priors_of_its_own_numbers(prior: str) -> None:
    z = normals(50)
    fed = information().fed(z, PRIORS[prior])
    assert fed.shape == z.shape
    assert torch.equal(fed[:, :5], PRIORS[prior](z[:, :5]))


def test_all_ways_are_equally_likely() -> None:
    fed = information().fed(normals(), identity)
    for columns, ways in (((5, 9), 4), ((9, 11), 2)):
        code = fed[:, slice(*columns)]
        assert set(code.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(code.sum(1), torch.ones(len(code)).double())
        counts = code.sum(0)
        expected = len(code) / ways
        chi2 = ((counts - expected) ** 2 / expected).sum().item()
        assert chi2 < {4: 16.3, 2: 10.8}[ways], "more than once in a thousand"
    together = fed[:, 5:9].T @ fed[:, 9:11] / len(fed)
    torch.testing.assert_close(together, torch.full((4, 2), 1 / 8).double(), atol=0.01, rtol=0)


def test_continuous_codes_are_uniform_or_normal() -> None:
    z = normals()
    uniform = information().fed(z, identity)[:, 11:]
    assert -1 <= uniform.min() < -0.999
    assert 0.999 < uniform.max() <= 1
    for code in uniform.T:
        assert furthest_from_uniform(code, -1, 1) < 1.95
    assert torch.equal(information(code_prior="normal").fed(z, identity)[:, 11:], z[:, 11:])
    cross = torch.corrcoef(information().fed(z, identity).T)[11:, :11]
    assert cross.abs().max() < 0.03, "codes know nothing of noise or of each other"


def test_codes_are_told_in_the_order_of_g() -> None:
    assert information().codes == (
        Code("category 1", 0, 4, True),
        Code("category 2", 4, 2, True),
        Code("code 1", 6, 0, True),
        Code("code 2", 7, 0, True),
        Code("code 3", 8, 0, True),
    )
    assert information().numbers == 9
    scaled = information(categories=(), continuous=2, code_scales=(4, 8), code_prior="normal")
    names = ["4: code 1", "4: code 2", "8: code 1", "8: code 2"]
    scales = [4, 4, 8, 8]
    assert scaled.codes == tuple(
        Code(name, n, 0, False, scale)
        for n, (name, scale) in enumerate(zip(names, scales, strict=True))
    )


# ---- terms -------------------------------------------------------------------------------------


class Told(nn.Module):
    """A Q that answers what it is told."""

    def __init__(self, *answers: Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, *activations: Tensor) -> list[Tensor]:
        return list(self.answers)


def costs(guess: Tensor, fed: Tensor) -> tuple[float, float]:
    """-log Q of all categories, and of all continuous codes, written sample by sample."""
    kinds, values = [], []
    for told, codes in zip(guess, fed, strict=True):
        total = 0.0
        for start, end in ((0, 4), (4, 6)):
            shares = torch.softmax(told[start:end], 0)
            total -= math.log(shares[codes[start:end].argmax()].item())
        kinds.append(total)
        apart = ((told[6:] - codes[6:]) ** 2).tolist()
        values.append(sum(0.5 * a + 0.5 * math.log(2 * math.pi) for a in apart))
    return sum(kinds) / len(kinds), sum(values) / len(values)


@pytest.mark.parametrize(("prior", "entropy"), [("uniform", math.log(2)), ("normal", 1.4189385332)])
def test_terms_are_sums_over_codes(prior: Any, entropy: float) -> None:
    """Weighted; the bound is not, and has no gradient."""
    asked = information(code_prior=prior, lambda_category=2.0, lambda_continuous=0.5)
    fed = asked.fed(normals(6), identity)
    guess = torch.randn(6, 9, generator=torch.Generator().manual_seed(1)).double()
    guess.requires_grad_()
    found = asked.losses("D", Told(guess), [], fed)
    kinds, values = costs(guess.detach(), fed[:, 5:])
    assert list(found) == ["category D", "continuous D", "information D"]
    assert found["category D"].item() == pytest.approx(2 * kinds, rel=1e-10)
    assert found["continuous D"].item() == pytest.approx(0.5 * values, rel=1e-10)
    bound = math.log(4) + math.log(2) + 3 * entropy - kinds - values
    assert found["information D"].item() == pytest.approx(bound, rel=1e-9)
    assert not found["information D"].requires_grad
    assert found["category D"].requires_grad


def test_groups_that_are_absent_cost_nothing() -> None:
    asked = information(code_scales=(4, 8), continuous=3, lambda_continuous=1.0)
    generator = torch.Generator().manual_seed(0)
    fed = asked.fed(torch.randn(6, 5 + 12, generator=generator).double(), identity)
    first, second = (torch.randn(6, n, generator=generator).double() for n in (9, 3))
    kinds, values = costs(first, fed[:, 5:14])
    coarse = asked.losses("G", Told(first), [], fed)
    assert coarse["continuous G"].item() == pytest.approx(values, rel=1e-10)
    bound = math.log(8) + 3 * math.log(2) - kinds - values
    assert coarse["information G"].item() == pytest.approx(bound, rel=1e-9)
    both = asked.losses("G", Told(first, second), [], fed)
    more = 0.5 * ((second - fed[:, 14:]) ** 2).sum(1).mean() + 1.5 * math.log(2 * math.pi)
    assert both["continuous G"].item() == pytest.approx(values + more.item(), rel=1e-10)
    assert both["category G"].item() == coarse["category G"].item()


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"continuous": 0}, ["category D", "information D"]),
        ({"categories": ()}, ["continuous D", "information D"]),
    ],
)
def test_a_kind_that_is_not_there_has_no_term(keys: dict[str, Any], names: list[str]) -> None:
    asked = information(**keys)
    fed = asked.fed(normals(4), identity)
    guess = torch.zeros(4, asked.numbers).double().requires_grad_()
    found = asked.losses("D", Told(guess), [], fed)
    assert list(found) == names
    assert all(value.ndim == 0 for value in found.values())


def test_a_listener_answers_as_d_does() -> None:
    class Judge(nn.Module):
        def forward(self, x: Tensor, features: bool = False) -> Any:
            seen = [x + 1, x + 2, x * 3]
            return seen if features else seen[-1]

    judge, x = Listening(Judge()), torch.ones(2)
    assert torch.equal(judge(x), 3 * x)
    assert all(map(torch.equal, judge(2 * x, features=True), [2 * x + 1, 2 * x + 2, 6 * x]))
    assert [len(heard) for heard in judge.heard] == [2, 2]
    assert torch.equal(judge.heard[1][1], 2 * x + 2)


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"categories": (3, 1)}, "2 ways or more each and continuous be 0 or more, not (3, 1), 3"),
        ({"continuous": -1}, "continuous be 0 or more, not (4, 2), -1"),
        ({"code_prior": "sphere"}, "code_prior 'sphere': choose uniform, normal"),
        ({"code_scales": (4, 12)}, "powers of two from 4 up in rising order, not (4, 12)"),
        ({"code_scales": (2, 4)}, "rising order, not (2, 4)"),
        ({"code_scales": (8, 4)}, "rising order, not (8, 4)"),
        ({"code_scales": (4, 4)}, "rising order, not (4, 4)"),
        ({"code_scales": (4,), "continuous": 0}, "code_scales are of continuous codes"),
        ({"lambda_category": -1.0}, "must be 0 or more, not -1.0, 1.0, 0.0"),
        ({"lambda_continuous": -1.0}, "must be 0 or more, not 1.0, -1.0, 0.0"),
        ({"lambda_consistency": -1.0}, "must be 0 or more, not 1.0, 1.0, -1.0"),
    ],
    ids=str,
)
def test_arguments_that_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        information(**keys)
    assert message in str(error.value)


class TestCutsOfALatent:
    """Blocks that are fed parts of their own must be fed the groups of the same scales."""

    def head(self, G: nn.Module, continuous: int, scales: tuple[int, ...]) -> None:
        part = information(categories=(), continuous=continuous, code_scales=scales)
        D = ProgressiveDiscriminator(1, 16, base=32, most=8)
        part.head(lambda section, **shape: nn.Identity(), G, D)

    def progressive(self, **more: int) -> nn.Module:
        return ProgressiveGenerator(1, 16, base=32, most=8, latent=12, **more)

    def test_those_that_fit_pass(self) -> None:
        self.head(self.progressive(injected=2), 2, (4, 8, 16))
        self.head(self.progressive(injected=2, injected_to=8), 2, (4, 8))
        self.head(BigGANGenerator(1, 16, latent=8, filters=2, attention="auto"), 2, (4, 8))
        self.head(DCGANGenerator(1, 16, latent=8, filters=2), 2, (4, 8))

    @pytest.mark.parametrize(
        ("continuous", "scales", "injected"),
        [(2, (4, 8), 2), (3, (4, 8, 16), 2), (2, (8, 16), 2), (2, (4, 8, 16), 0)],
    )
    def test_those_that_do_not_are_refused(
        self, continuous: int, scales: tuple[int, ...], injected: int
    ) -> None:
        with pytest.raises(ValueError, match="do not fit the generator"):
            self.head(self.progressive(injected=injected), continuous, scales)

    def test_biggans_are_refused_too(self) -> None:
        with pytest.raises(ValueError, match=r"given \[2, 2\] numbers"):
            self.head(BigGANGenerator(1, 16, latent=8, filters=2, attention="auto"), 3, (4, 8))
