"""What holds for every method and every choice that its signature offers, also for new ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from by_hand import furthest
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from gan_core import sampling
from gan_core.routing import Step, Update, route_matrix, trainable
from gan_core.trainer import Trainer
from translate.data.sets import LAYOUTS
from translate.errors import UserError
from translate.explain import routes
from translate.methods import METHODS, TranslationMethod
from translate.networks import NETWORKS
from translate.recipe import Recipe, resolve
from translate.recipe_file import default_recipe
from translate.schema import keywords

BATCH, LR = 2, 1e-3
SMALL = {"filters": 2, "depth": 2, "layers": 1, "blocks": 0, "latent": 4, "embedding": 2}
WIDE = {"init_gain": 0.4}  # so that every gradient is felt
Choices = dict[str, Any]


def choices(name: str) -> list[Choices]:
    """Every combination of the constructor's keywords that are one of several words."""
    offered = {
        key: get_args(p.annotation)
        for key, p in keywords(METHODS[name]).items()
        if get_origin(p.annotation) is Literal
    }
    return [dict(zip(offered, words, strict=True)) for words in product(*offered.values())]


def unbounded(chosen: Choices) -> bool:
    return chosen.get("loss") == "wgan" and chosen.get("penalty") == "none"


def known(name: str, extra: Choices) -> Choices:
    """Those that the method has a keyword for."""
    return {key: value for key, value in extra.items() if key in keywords(METHODS[name])}


def usual(name: str, chosen: Choices) -> bool:
    """Whether at most one word is not the signature's default."""
    signature = keywords(METHODS[name])
    return sum(word != signature[key].default for key, word in chosen.items()) <= 1


def cases(has: str = "", unusual: Sequence[pytest.MarkDecorator] = ()) -> pytest.MarkDecorator:
    """Every method (with that keyword) x every choice that it accepts; unusual ones so marked."""
    accepted = [
        pytest.param(
            *(name, chosen),
            id="-".join([name, *chosen.values()]),
            marks=() if usual(name, chosen) else unusual,
        )
        for name in METHODS
        if not has or has in keywords(METHODS[name])
        for chosen in choices(name)
        if not unbounded(chosen)
    ]
    return pytest.mark.parametrize(("name", "chosen"), accepted)


SLOW = [pytest.mark.slow]
every_method = pytest.mark.parametrize("name", METHODS)


@dataclass
class Tiny:
    """A method with networks of a few weights, built as a recipe's are, and a batch of noise."""

    method: TranslationMethod
    nets: dict[str, nn.Module]
    batch: dict[str, Tensor]

    def trainer(self, **arguments: Any) -> Trainer:
        optimizers = {
            update.name: torch.optim.Adam(trainable(update, self.nets), lr=LR, betas=(0.5, 0.999))
            for update in self.method.updates
        }
        return Trainer(self.method, self.nets, optimizers, 10, lambda step, steps: 1.0, **arguments)

    def reached(self, word: str) -> dict[Update, set[str]]:
        """Networks whose weights the terms that begin with ``word`` have a gradient for."""
        sampling.seed(0)
        scene = self.method.scene(self.nets, self.batch)
        found: dict[Update, set[str]] = {}
        for update in self.method.updates:
            terms = self.method.losses(update, self.nets, scene)
            asked = [term for name, term in terms.items() if name.startswith(word)]
            for term, (name, net) in product(asked, self.nets.items()):
                gradients = torch.autograd.grad(
                    term, list(net.parameters()), retain_graph=True, allow_unused=True
                )
                if any(g is not None and g.abs().max() > 1e-4 for g in gradients):
                    found.setdefault(update, set()).add(name)
        return found


def overrides(name: str, chosen: Choices, **of_networks: Any) -> list[tuple[str, Any]]:
    """The default recipe's, shrunk; of_networks: for every network whose signature has them."""
    found = [("data.size", 16), *((f"method.{key}", value) for key, value in chosen.items())]
    for section, table in default_recipe(name).unwrap()["networks"].items():
        asked = SMALL | WIDE | {"norm": "instance"} | of_networks
        for key in asked.keys() & keywords(NETWORKS[table["kind"]]):
            found.append((f"networks.{section}.{key}", asked[key]))
    return found


@cache
def shrunken(name: str, **of_networks: Any) -> Recipe:
    return resolve(default_recipe(name), overrides(name, {}, **of_networks), name)


def tiny(name: str, chosen: Choices, *, seed: int = 0, **of_networks: Any) -> Tiny:
    recipe = shrunken(name, **of_networks)
    recipe = replace(recipe, values=recipe.values | {"method": recipe.values["method"] | chosen})
    method = recipe.make_method()
    channels = LAYOUTS[method.data].channels_of(recipe.values["data"])
    torch.manual_seed(seed)
    nets, _ = recipe.make_networks(method, channels)
    return Tiny(method, nets, noise(channels, recipe.size))


def noise(channels: Mapping[str, int], size: int) -> dict[str, Tensor]:
    """One row of pictures or labels for each key, as a loader gives them."""
    pictures = {key: torch.rand(BATCH, n, size, size) * 2 - 1 for key, n in channels.items()}
    labels = {key: torch.arange(BATCH) % n for key, n in channels.items() if key == "label"}
    return pictures | labels


def check_a_step(made: Tiny, **arguments: Any) -> dict[str, float]:
    """Every weight of every network moves as Adam's first step has it, by about LR; its logs."""
    before = {
        (name, key): p.detach().clone()
        for name, net in made.nets.items()
        for key, p in net.named_parameters()
    }
    training = made.trainer(**arguments)
    logs = training.step(iter([made.batch]))
    assert all(math.isfinite(value) for value in logs.values())
    assert training.counts["redone"] == training.counts["skipped"] == 0
    for name, net in made.nets.items():
        for key, p in net.named_parameters():
            if p.ndim > 1:  # an instance norm takes from a bias before it what it does
                moved = (p - before[name, key]).abs().max().item()
                assert LR / 2 < moved < 1.01 * LR, (name, key)
    return logs


@every_method
def test_only_an_unbounded_critic_is_refused(name: str) -> None:
    for chosen in choices(name):
        if unbounded(chosen):
            with pytest.raises(ValueError, match="set penalty = 'two-sided'"):
                METHODS[name](**chosen)
        else:
            METHODS[name](**chosen)


@cases()
def test_a_step(name: str, chosen: Choices) -> None:
    check_a_step(tiny(name, chosen))


@cases(unusual=SLOW)
def test_a_step_in_16_bits(name: str, chosen: Choices) -> None:
    made = tiny(name, chosen)
    seen: dict[str, set[torch.dtype]] = {key: set() for key in made.nets}
    for key, net in made.nets.items():
        layer = next(m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))
        layer.register_forward_hook(lambda *call, key=key: seen[key].add(call[2].dtype))
    check_a_step(made, precision="bf16")
    assert all(torch.bfloat16 in dtypes for dtypes in seen.values())


@cases(unusual=SLOW)
def test_a_step_with_spectral_discriminators(name: str, chosen: Choices) -> None:
    made = tiny(name, chosen, spectral=True)
    normalised = {key for key, net in made.nets.items() if any(map(is_parametrized, net.modules()))}
    assert normalised == made.nets.keys() - set(made.method.averaged)
    check_a_step(made)


@cases(has="lambda_feature", unusual=SLOW)
def test_a_step_with_feature_matching(name: str, chosen: Choices) -> None:
    made = tiny(name, chosen | {"lambda_feature": 1.0})
    (update,) = {u for u in made.method.updates if set(u.trains) & set(made.method.averaged)}
    assert set(update.trains) <= made.reached("feature")[update]
    logs = check_a_step(made)
    assert any(key.startswith("feature") and value > 0 for key, value in logs.items())


@cases(has="penalty", unusual=SLOW)
def test_a_penalty_is_felt_by_every_discriminator_and_by_no_generator(
    name: str, chosen: Choices
) -> None:
    # Critics steeper than 1, where every penalty has something to say.
    reached = (made := tiny(name, chosen, init_gain=2.0)).reached("penalty")
    if chosen["penalty"] == "none":
        assert reached == {}
    else:
        assert list(reached.values()) == [made.nets.keys() - set(made.method.averaged)]
        assert all(set(update.trains) == nets for update, nets in reached.items())


@every_method
def test_batch_norm_is_refused_under_a_penalty_and_mended_as_told(name: str) -> None:
    tiny(name, {}, norm="batch")  # without a penalty it may be
    for penalty in {chosen.get("penalty", "none") for chosen in choices(name)} - {"none"}:
        with pytest.raises(UserError) as told:
            tiny(name, {"penalty": penalty}, norm="batch")
        assert f"recipe: [method] penalty = {penalty!r}" in str(told.value)
        assert str(told.value).endswith("set networks.discriminator.norm = 'instance'")
        assert "\n" not in str(told.value)
        tiny(name, {"penalty": penalty})  # as told: with instance norms


@pytest.mark.parametrize("extra", [{}, {"penalty": "r1", "lambda_feature": 1.0}], ids=str)
@every_method
def test_an_update_moves_its_networks_and_no_other(name: str, extra: Choices) -> None:
    for update in METHODS[name].updates:
        made, before = (tiny(name, known(name, extra)) for _ in range(2))
        made.method.schedule = lambda progress, update=update: Step((update,))  # type: ignore
        made.trainer().step(iter([made.batch]))
        moved = {key for key in made.nets if furthest(made.nets[key], before.nets[key]) > 0}
        assert moved == set(update.trains)


@every_method
def test_resumed_training_is_the_same_training(name: str) -> None:
    """With all that has a state: a history, spectral norms, the draws of latents and mixes."""
    chosen = known(name, {"pool_size": 3, "penalty": "two-sided", "lambda_feature": 1.0})
    whole, first, second = (tiny(name, chosen, seed=n, spectral=True) for n in (0, 0, 1))
    data = [{key: value.roll(n, -1) for key, value in whole.batch.items()} for n in range(10)]
    straight, begun, resumed = whole.trainer(), first.trainer(), second.trainer()
    for batch in data:
        straight.step(iter([batch]))
    for batch in data[:5]:
        begun.step(iter([batch]))
    resumed.load_state_dict(begun.state_dict())
    for batch in data[5:]:
        resumed.step(iter([batch]))
    for key, net in whole.nets.items():
        state = second.nets[key].state_dict()
        assert all(torch.equal(value, state[k]) for k, value in net.state_dict().items()), key
    ends = (made.method.state_dict() for made in (whole, second))
    torch.testing.assert_close(*ends, rtol=0, atol=0)


@pytest.mark.parametrize(
    "extra", [{}, {"lambda_feature": 1.0, "pool_size": 1}, {"penalty": "two-sided"}], ids=str
)
@every_method
def test_routes_are_explained_without_numbers(name: str, extra: Choices) -> None:
    """`translate explain` measures on the meta device what a step does with numbers."""
    chosen = known(name, extra)
    made = tiny(name, chosen)
    expected = route_matrix(made.method, made.nets, made.batch)
    assert routes(default_recipe(name), overrides(name, chosen), name) == expected
