"""cGAN against training loops and routing tables written by hand from the papers."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from by_hand import DISCRIMINATOR as JUDGED
from by_hand import GENERATOR as DECEIVES
from by_hand import PaperPool, furthest, slope_penalty, step_seeds, table
from torch import Tensor, nn

from gan_core import sampling
from gan_core.handicap import Handicap
from gan_core.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from gan_core.routing import route_matrix, trainable
from gan_core.trainer import Trainer
from translate.methods.cgan import DISCRIMINATOR, GENERATOR, ConditionalGAN, _Judge

Batch = dict[str, Tensor]
SIZE, BATCH, CLASSES, LATENT, STEPS = 16, 4, 3, 5, 5
LR, BETAS = 2e-3, (0.5, 0.999)
CONDITIONS = ["concat", "projection", "auxiliary"]


def networks(condition: Any, weights: Any = "free") -> nn.ModuleDict:
    """Very small; wide weights, so that every gradient is felt, and classes that differ."""
    torch.manual_seed(0)
    small: Any = {"filters": 3, "embedding": 2, "init_gain": 0.3}
    G = DCGANGenerator(3, SIZE, CLASSES, condition, latent=LATENT, **small)
    D = DCGANDiscriminator(3, SIZE, CLASSES, condition, weights=weights, **small)
    for key, p in G.named_parameters():
        if key.endswith((".gain", ".bias")) and p.ndim == 2:  # of every class, equal at first
            nn.init.normal_(p, 1.0, 0.3)
    return nn.ModuleDict({"G": G, "D": D}).double()


def batches() -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(1)
    while True:
        shape = (BATCH, 3, SIZE, SIZE)
        image = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
        yield {"image": image, "label": torch.randint(CLASSES, (BATCH,), generator=generator)}


def cgan(**arguments: Any) -> ConditionalGAN:
    """Whose discriminator nothing holds back."""
    return ConditionalGAN(Handicap(), **arguments)


def trainer(nets: nn.ModuleDict, **arguments: Any) -> Trainer:
    method = cgan(**arguments)
    optimizers = {
        u.name: torch.optim.Adam(trainable(u, nets), lr=LR, betas=BETAS) for u in method.updates
    }
    return Trainer(method, nets, optimizers, 100, lambda step, steps: 1.0)


# ---- the papers' trainings, by hand ------------------------------------------------------------


def class_cost(logits: Tensor, label: Tensor) -> Tensor:
    """-log P(C = c | X), the mean over the batch."""
    own = logits[torch.arange(len(label)), label]
    return (logits.exp().sum(1).log() - own).mean()


def askew(G: nn.Module) -> Tensor:
    """Brock et al. 2019, section 3.1: <w_i, w_j>^2 of every two outputs of a layer, twice."""
    layers = [layer for layer in G.modules() if isinstance(layer, nn.ConvTranspose2d)]
    rows = [
        layer.weight.transpose(0, 1).flatten(1) for layer in layers
    ]  # [in, out, kernel, kernel]
    pairs = [
        (w[i] @ w[j]) ** 2 for w in rows for i in range(len(w)) for j in range(len(w)) if i != j
    ]
    return torch.stack(pairs).sum()


def train_by_hand(
    nets: nn.ModuleDict,
    data: Iterator[Batch],
    seeds: list[int],
    condition: str,
    loss: str = "vanilla",
    lambda_class: float = 1.0,
    lambda_feature: float = 0.0,
    penalty: str = "none",
    pool_size: int = 0,
    discriminator_steps: int = 1,
    lambda_orthogonal: float = 0.0,
    prior: str = "normal",
) -> int:
    """Mirza & Osindero, equation 2, or Odena et al., L_S and L_C; returns the history's swaps.

    D takes its steps first, as in Goodfellow et al. 2014, algorithm 1, each on a batch of its own.
    Of D's output the first column is the score; the others, if there are any, are the classes'
    logits. Reals and fakes are shown to D at once: one power iteration of spectral norm.
    """
    G, D = nets["G"], nets["D"]
    of_G = torch.optim.Adam(G.parameters(), lr=LR, betas=BETAS)
    of_D = torch.optim.Adam(D.parameters(), lr=LR, betas=BETAS)
    history, auxiliary = PaperPool(pool_size), condition == "auxiliary"
    for number, seed in enumerate(seeds):
        sampling.seed(seed)
        batch = next(data)
        real, c = batch["image"], batch["label"]
        z = sampling.normal(BATCH, LATENT, like=real)
        fake = G(torch.erf(z / math.sqrt(2)) if prior == "uniform" else z, c)
        of_D.zero_grad()  # what the generator's losses left there
        shown = history.show(fake, c.tolist())
        of_real, of_shown = D(torch.cat([real, shown]), torch.cat([c, c])).chunk(2)
        objective = JUDGED[loss](of_real[:, 0], of_shown[:, 0])
        if penalty == "two-sided":
            mixes = sampling.uniform(BATCH, like=real)
            cost = slope_penalty(lambda x, i, c=c: D(x, c[i : i + 1])[:, 0], real, shown, mixes)
            objective = objective + 10 * cost
        if auxiliary:
            cost = class_cost(of_real[:, 1:], c) + class_cost(of_shown[:, 1:], c)
            objective = objective + lambda_class * cost
        objective.backward()
        of_D.step()
        if (number + 1) % discriminator_steps:
            continue
        of_G.zero_grad()
        of_fake = D(fake, c)
        objective = DECEIVES[loss](of_fake[:, 0])
        if auxiliary:
            objective = objective + lambda_class * class_cost(of_fake[:, 1:], c)
        if lambda_feature:  # Salimans et al. 2016, section 3.1, of every layer but the scores
            seen = [D(x, c, features=True)[:-1] for x in (real, fake)]
            means = ([layer.mean((0, 2, 3)) for layer in layers] for layers in seen)
            apart = sum(((r - f) ** 2).mean() for r, f in zip(*means, strict=True))
            objective = objective + lambda_feature * apart
        if lambda_orthogonal:
            objective = objective + lambda_orthogonal * askew(G)
        objective.backward()
        of_G.step()
    return history.swaps


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"loss": "hinge", "pool_size": 4},
        {"loss": "lsgan", "lambda_feature": 3.0, "lambda_class": 0.5},
        {"loss": "wgan", "penalty": "two-sided", "pool_size": 4},
        {"discriminator_steps": 3, "prior": "uniform", "lambda_orthogonal": 1e-2},
        {"loss": "hinge", "weights": "spectral"},
    ],
    ids=str,
)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_training_equals_the_papers_by_hand(
    condition: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = dict(arguments)
    weights = arguments.pop("weights", "free")
    ours, theirs, start = (networks(condition, weights) for _ in range(3))
    seeds = step_seeds(monkeypatch)
    training, data = trainer(ours, condition=condition, **arguments), batches()
    for _ in range(STEPS):
        training.step(data)
    assert len(seeds) == len(set(seeds)) == STEPS * arguments.get("discriminator_steps", 1)
    swaps = train_by_hand(theirs, batches(), seeds, condition, **arguments)
    if "pool_size" in arguments:
        assert 3 <= swaps <= STEPS * BATCH - 4  # the history took part
    for name in ours:
        assert furthest(start[name], ours[name]) > LR, "it must have moved"
        assert furthest(ours[name], theirs[name]) < 1e-10, name


def test_naming_the_class_by_hand() -> None:
    """Logits log 1, log 2, log 5 beside any score: the classes have 1/8, 2/8 and 5/8."""
    row = torch.tensor([[70.0, math.log(1), math.log(2), math.log(5)]], dtype=torch.float64)
    pictures = torch.zeros(2, 3, 4, 4)

    class Fixed(nn.Module):
        def forward(self, x: Tensor, label: Tensor, features: bool) -> list[Tensor]:
            return [row.expand(len(x), -1)]

    judge = _Judge(Fixed(), torch.tensor([2, 0]))
    assert torch.equal(judge(pictures), row[:, :1].expand(2, -1))
    cost = judge.named(0)
    assert cost.item() == pytest.approx((math.log(8 / 5) + math.log(8)) / 2, rel=1e-14)


# ---- what the label does -----------------------------------------------------------------------


def terms(condition: Any, label: Tensor) -> dict[str, float]:
    """Of one scene, under these labels."""
    nets, method = networks(condition), cgan(condition=condition)
    sampling.seed(0)
    scene = dict(method.scene(nets, next(batches()))) | {"label": label}
    found = [method.losses(update, nets, scene) for update in (DISCRIMINATOR, GENERATOR)]
    return {name: loss.item() for losses in found for name, loss in losses.items()}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_label_is_told_to_d_or_asked_of_it(condition: str) -> None:
    """concat and projection judge (picture, label); auxiliary judges the picture, then names it."""
    one, other = (terms(condition, torch.tensor(c)) for c in ([0, 1, 2, 0], [1, 2, 0, 2]))
    differ = {name for name in one if one[name] != other[name]}
    if condition == "auxiliary":
        assert differ == {"class D", "class G"}
        assert one.keys() == {"D", "adversarial G"} | differ
    else:
        assert differ == one.keys() == {"D", "adversarial G"}
    assert all(abs(one[name] - other[name]) > 1e-3 for name in differ)


def test_the_auxiliary_discriminator_is_not_told() -> None:
    D, x = networks("auxiliary")["D"], next(batches())["image"]
    one, other = (D(x, torch.full((BATCH,), c)) for c in (0, 1))
    assert torch.equal(one, other)
    assert torch.equal(one, D(x))
    assert one.shape == (BATCH, 1 + CLASSES)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_made_pictures_are_of_their_class_and_of_the_given_noise(condition: Any) -> None:
    nets = networks(condition).float().eval()
    method, label = cgan(condition=condition), torch.tensor([0, 1, 2])

    def made(label: Tensor, seed: int) -> Tensor:
        sampling.seed(99)  # neither a step's draws nor torch's own have a part in it
        batch = {"image": torch.rand(3, 3, SIZE, SIZE), "label": label}
        pictures = method.made(nets, batch, torch.Generator().manual_seed(seed))
        assert list(pictures) == ["image"]
        return pictures["image"].detach()

    pictures = made(label, 1)
    assert pictures.shape == (3, 3, SIZE, SIZE)
    z = torch.randn(3, LATENT, generator=torch.Generator().manual_seed(1))
    assert torch.equal(pictures, nets["G"](z, label))
    apart = (made(torch.tensor([0, 2, 2]), 1) - pictures).abs().amax((1, 2, 3))
    assert apart[0] < 1e-6
    assert apart[1] > 1e-2
    assert apart[2] < 1e-6
    assert (made(label, 2) - pictures).abs().amax((1, 2, 3)).min() > 1e-2


# ---- routes ------------------------------------------------------------------------------------

# Mirza & Osindero, equation 2: D is trained to tell pictures apart under their label, G to deceive
# it. Odena et al., section 3: D maximises L_S + L_C, G maximises L_C - L_S.
JUDGE = "D             | . T"
DECEIVE = "adversarial G | T >"
CLASS_D = "class D       | . T"
CLASS_G = "class G       | T >"
# Not in those papers: D's penalty is its own; features ask G for what D's layers see.
PENALTY = "penalty D     | . T"
FEATURE = "feature G     | T >"
ORTHOGONAL = "orthogonal G | T ."  # Brock et al. 2019: of G's weights alone


@pytest.mark.parametrize("condition", CONDITIONS)
def test_routes_are_the_papers(condition: Any) -> None:
    classes = condition == "auxiliary"
    matrix = route_matrix(cgan(condition=condition), networks(condition), next(batches()))
    assert matrix == {
        "discriminator": table("G D", JUDGE, *[CLASS_D] * classes),
        "generator": table("G D", DECEIVE, *[CLASS_G] * classes),
    }


@pytest.mark.parametrize("condition", CONDITIONS)
def test_routes_of_what_the_papers_have_not(condition: Any) -> None:
    classes = condition == "auxiliary"
    method = cgan(
        condition=condition,
        penalty="two-sided",
        lambda_feature=1.0,
        lambda_orthogonal=1e-4,
        pool_size=3,
    )
    assert route_matrix(method, networks(condition), next(batches())) == {
        "discriminator": table("G D", JUDGE, PENALTY, *[CLASS_D] * classes),
        "generator": table("G D", DECEIVE, FEATURE, ORTHOGONAL, *[CLASS_G] * classes),
    }


# ---- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", CONDITIONS)
def test_both_networks_are_built_for_the_classes(condition: Any) -> None:
    asked: dict[str, dict[str, Any]] = {}

    def build(section: str, **shape: Any) -> nn.Module:
        asked[section] = shape
        return nn.Identity()

    method = cgan(condition=condition)
    assert set(method.networks(build, {"image": 4, "label": 7})) == {"G", "D"}
    label = {"classes": 7, "condition": condition}
    assert asked == {
        "generator": {"out_channels": 4, **label},
        "discriminator": {"in_channels": 4, **label},
    }


@pytest.mark.parametrize(
    "wrong",
    [{"lambda_class": -1.0}, {"lambda_orthogonal": -1.0}, {"discriminator_steps": 0}],
    ids=str,
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    says = (
        "lambda_class and lambda_orthogonal must be 0 or more, discriminator_steps 1 or more, not"
    )
    with pytest.raises(ValueError, match=says):
        cgan(**wrong)


def test_a_handicap_needs_a_boundary_between_scores() -> None:
    held_back = Handicap(balance=0.8)
    ConditionalGAN(held_back, loss="hinge")
    with pytest.raises(ValueError, match="balance count scores on the right side of a boundary"):
        ConditionalGAN(held_back, loss="wgan", penalty="two-sided")


def test_what_is_remembered_is_the_history_and_the_handicap() -> None:
    """Both go on where they were."""
    held_back: Any = {"augment": ("cutout",), "augment_target": 0.5, "augment_images": 8}
    one, other = (ConditionalGAN(Handicap(**held_back), pool_size=4) for _ in range(2))
    nets = networks("concat")
    optimizers = {u.name: torch.optim.Adam(trainable(u, nets)) for u in one.updates}
    training, data = Trainer(one, nets, optimizers, 9, lambda step, steps: 1.0), batches()
    for _ in range(3):
        training.step(data)
    other.load_state_dict(one.state_dict())
    assert len(other.pool.images) == 4
    assert other.handicap.p == one.handicap.p
    assert other.handicap.means == one.handicap.means != Handicap(**held_back).means
