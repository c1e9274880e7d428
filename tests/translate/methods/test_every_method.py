"""What holds for every method and every choice that its signature offers, also for new ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, cycle, product
from typing import Any, Literal, get_args, get_origin

import pytest
import tomlkit
import torch
from by_hand import furthest
from starts import SYSTEMS, System, every_system, small_data, table_of
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from gan_core import sampling
from gan_core.routing import Step, Update, route_matrix, trainable
from gan_core.trainer import Trainer
from translate.errors import UserError
from translate.explain import routes
from translate.methods import METHODS, TranslationMethod
from translate.networks import NETWORKS
from translate.recipe import Recipe, resolve
from translate.recipe_file import read
from translate.schema import check, keyed, keywords

BATCH, LR = 2, 1e-3
# Of these every network has what its signature offers. Weights so wide that every gradient is felt.
SMALL = {"filters": 2, "depth": 2, "layers": 1, "blocks": 0, "latent": 4, "embedding": 2}
SMALL |= {"norm": "instance", "init_gain": 0.4}
# Of two ReLU for two points too many would be dead.
OF_KIND: dict[str, Any] = {"mlp": {"filters": 16}, "mapping": {"filters": 16}}
OF_KIND |= {"text": {"filters": 8, "blocks": 1}}
# Networks that no recipe to begin with has, and that some choice asks for.
MORE = {"ogan": {"head": "mlp-discriminator", "code": "mapping"}}
MARGINS = {"norm": 20.0, "squared": 1.0, "absolute": 1.0}  # each energy has its scale
Choices = dict[str, Any]


def words(method: str) -> dict[str, tuple[str, ...]]:
    """The constructor's keywords that are one of several words, the default first."""
    return {
        key: (p.default, *(word for word in get_args(p.annotation) if word != p.default))
        for key, p in keywords(METHODS[method]).items()
        if get_origin(p.annotation) is Literal
    }


def choices(method: str) -> list[Choices]:
    """The defaults, and all in which one or two words are others: so every pair of words."""
    offered = words(method)
    defaults = {key: first for key, (first, *_) in offered.items()}
    return [
        defaults | dict(zip(keys, others, strict=True))
        for count in (0, 1, 2)
        for keys in combinations(offered, count)
        for others in product(*(offered[key][1:] for key in keys))
    ]


def unbounded(chosen: Choices) -> bool:
    held = {chosen.get("penalty", "none"), chosen.get("constraint", "none")} != {"none"}
    return chosen.get("loss") == "wgan" and not held


def known(method: str, extra: Choices) -> Choices:
    """Those that the method, or a part of it, has a keyword for."""
    keys = {key for maker in keyed(METHODS[method]) for key in keywords(maker)}
    return {key: value for key, value in extra.items() if key in keys}


def usual(method: str, chosen: Choices) -> bool:
    """Whether at most one word is not the signature's default."""
    return sum(chosen[key] != first for key, (first, *_) in words(method).items()) <= 1


def cases(has: str = "", unusual: Sequence[pytest.MarkDecorator] = ()) -> pytest.MarkDecorator:
    """Every system (with that keyword) x every choice that it accepts; unusual ones so marked.

    On another kind of data than its first, the usual choices.
    """
    accepted = [
        pytest.param(
            *(system, chosen),
            id="-".join([str(system), *chosen.values()]),
            marks=() if usual(system.method, chosen) else unusual,
        )
        for system in SYSTEMS
        if not has or known(system.method, {has: None})
        for chosen in choices(system.method)
        if not unbounded(chosen)
        if system.kind == METHODS[system.method].data[0] or usual(system.method, chosen)
    ]
    return pytest.mark.parametrize(("system", "chosen"), accepted)


SLOW = [pytest.mark.slow]
DRAWING = [system for system in SYSTEMS if not METHODS[system.method].translations]
CODING = [system for system in DRAWING if hasattr(METHODS[system.method], "encode")]


@dataclass
class Tiny:
    """A method with networks of a few weights, built as a recipe's are, and a batch of noise."""

    method: TranslationMethod
    nets: dict[str, nn.Module]
    kinds: dict[str, str]
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


def document(system: System) -> tomlkit.TOMLDocument:
    """The system's recipe without what it says of the method."""
    recipe = read(system.recipe)
    recipe["method"] = {"name": system.method}
    return recipe


def overrides(system: System, chosen: Choices, **of_networks: Any) -> list[tuple[str, Any]]:
    """What makes the recipe tiny; of_networks: for every network whose signature has them."""
    found = [(f"method.{key}", value) for key, value in fitting(chosen).items()]
    found += small_data(system.kind)
    networks = table_of(system.recipe)["networks"]
    more = {section: {"kind": kind} for section, kind in MORE.get(system.method, {}).items()}
    for section, table in (networks | more).items():
        found.append((f"networks.{section}.kind", table["kind"]))
        signature = keywords(NETWORKS[table["kind"]])
        asked = SMALL | OF_KIND.get(table["kind"].removesuffix("-discriminator"), {})
        for key, value in (asked | of_networks).items():
            if key in signature and value in offered(signature[key].annotation, value):
                found.append((f"networks.{section}.{key}", value))
    return found


def offered(annotation: Any, value: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else (value,)


def fitting(chosen: Choices) -> Choices:
    return {"margin": MARGINS[chosen["energy"]], **chosen} if "energy" in chosen else chosen


@cache
def shrunken(system: System, **of_networks: Any) -> Recipe:
    return resolve(document(system), overrides(system, {}, **of_networks), system.method)


def tiny(system: System, chosen: Choices, *, seed: int = 0, **of_networks: Any) -> Tiny:
    recipe = shrunken(system, **of_networks)
    settings = check("method", fitting(chosen), keyed(METHODS[system.method]))
    recipe = replace(recipe, values=recipe.values | {"method": {"name": system.method, **settings}})
    method, values = recipe.make_method(), recipe.values["data"]
    torch.manual_seed(seed)
    nets, described = recipe.make_networks(method, recipe.layout.channels_of(values))
    kinds = {name: description["kind"] for name, description in described.items()}
    return Tiny(method, nets, kinds, noise(recipe.layout.blank(values)))


def noise(blank: dict[str, Tensor]) -> dict[str, Tensor]:
    """A batch, as a loader gives it, of pictures or points in [-1, 1] and of labels."""
    assert {len(values) for values in blank.values()} == {BATCH}
    return {
        key: torch.rand(values.shape) * 2 - 1 if values.is_floating_point() else torch.arange(BATCH)
        for key, values in blank.items()
    }


def check_a_step(made: Tiny, **arguments: Any) -> dict[str, float]:
    """Every weight of every network moves as Adam's first step has it, by about LR; its logs.

    Those that a constraint holds move on, to where it wants them.
    """
    before = {
        (name, key): p.detach().clone()
        for name, net in made.nets.items()
        for key, p in net.named_parameters()
    }
    training = made.trainer(**arguments)
    logs = training.step(iter([made.batch]))
    assert all(math.isfinite(value) for value in logs.values())
    assert training.counts["redone"] == training.counts["skipped"] == 0
    constraints = {name: u.project for u in made.method.updates if u.project for name in u.trains}
    for name, net in made.nets.items():
        if name in constraints:
            wanted = [p.detach().clone() for p in net.parameters()]
            constraints[name](wanted)
            torch.testing.assert_close(list(net.parameters()), wanted)
        for key, p in net.named_parameters():
            if p.ndim > 1:  # an instance norm takes from a bias before it what it does
                moved = (p - before[name, key]).abs().max().item()
                assert moved > LR / 2, (name, key)
                assert name in constraints or moved < 1.01 * LR, (name, key)
    return logs


@every_system()
def test_only_an_unbounded_critic_is_refused(system: System) -> None:
    """Whatever else is chosen; a constraint on its weights bounds it as a penalty does."""
    refused = [chosen for chosen in choices(system.method) if unbounded(chosen)]
    for chosen in refused:
        with pytest.raises(UserError, match="'wgan' needs a bounded critic: set penalty = 'two-"):
            tiny(system, chosen)
    if refused and "weights" in keywords(NETWORKS[judge(system)]):
        check_a_step(tiny(system, refused[0], weights="spectral"))


def judge(system: System) -> str:
    """The kind of the network that no other is shown to."""
    networks = table_of(system.recipe)["networks"]
    return str(networks.get("discriminator", networks.get("encoder"))["kind"])


@cases(unusual=SLOW)
def test_a_step(system: System, chosen: Choices) -> None:
    check_a_step(tiny(system, chosen))


@cases(unusual=SLOW)
def test_a_step_in_16_bits(system: System, chosen: Choices) -> None:
    made = tiny(system, chosen)
    seen: dict[str, set[torch.dtype]] = {key: set() for key in made.nets}
    for key, net in made.nets.items():
        layers = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
        layer = next(m for m in net.modules() if isinstance(m, layers))
        layer.register_forward_hook(lambda *call, key=key: seen[key].add(call[2].dtype))
    check_a_step(made, precision="bf16")
    assert all(torch.bfloat16 in dtypes for dtypes in seen.values())


@cases(unusual=SLOW)
def test_a_step_with_spectral_norms(system: System, chosen: Choices) -> None:
    made = tiny(system, chosen, weights="spectral")
    normalised = {key for key, net in made.nets.items() if any(map(is_parametrized, net.modules()))}
    asked = {key for key, kind in made.kinds.items() if "weights" in keywords(NETWORKS[kind])}
    assert normalised == asked
    check_a_step(made)


@cases(has="lambda_feature", unusual=SLOW)
def test_feature_matching_is_felt_by_every_generator(system: System, chosen: Choices) -> None:
    made = tiny(system, {**chosen, "lambda_feature": 1.0})
    (update,) = {u for u in made.method.updates if set(u.trains) & set(made.method.averaged)}
    assert set(update.trains) <= made.reached("feature")[update]
    logs = check_a_step(made)
    assert any(key.startswith("feature") and value > 0 for key, value in logs.items())


@cases(has="penalty", unusual=SLOW)
def test_a_penalty_is_felt_by_every_discriminator_and_by_no_generator(
    system: System, chosen: Choices
) -> None:
    # Critics steeper than 1, where every penalty has something to say.
    reached = tiny(system, chosen, init_gain=2.0).reached("penalty")
    if chosen["penalty"] == "none":
        assert reached == {}
        return
    ((update, nets),) = reached.items()
    if chosen["penalty"] == "quadratic":
        nets &= set(update.trains)  # it is of the scores that the loss has, not of detached ones'
    assert nets <= set(update.trains)
    assert set(update.trains) - nets <= {"W"}, "a matrix on codes has no part in scores"


@every_system([system for system in SYSTEMS if system.of_pictures])
def test_batch_norm_is_refused_under_a_penalty_and_mended_as_told(system: System) -> None:
    for penalty in set(words(system.method).get("penalty", ())) - {"none", "quadratic"}:
        with pytest.raises(UserError) as told:
            tiny(system, {"penalty": penalty}, norm="batch")
        assert f"recipe: [method] penalty = {penalty!r}" in str(told.value)
        assert str(told.value).endswith("norm = 'layer' or 'instance'")
        assert "\n" not in str(told.value)
        for norm in ("layer", "instance"):  # as told
            tiny(system, {"penalty": penalty}, norm=norm)
    tiny(system, {}, norm="batch")  # by default it may be


# ---- what holds a discriminator back -------------------------------------------------------------

HANDICAP: Choices = {
    "noise": 0.1,
    "noise_kind": "uniform",
    "augment": ("colour", "translation", "cutout"),
    "augment_target": 0.6,
    "augment_images": 20,
    "balance": 0.6,
    "balance_window": 2,
}


def handicap(system: System) -> Choices:
    """All of it that the system can take: energies have no boundary, and only pictures colours."""
    has_scores = "loss" in words(system.method)
    left_out = set() if has_scores else {"augment_target", "balance"}
    if not system.of_pictures:
        left_out |= {"augment", "augment_target"}
    scores = {"loss": "hinge"} if has_scores else {}  # a Wasserstein critic has none either
    return scores | {key: value for key, value in HANDICAP.items() if key not in left_out}


@every_system([s for s in SYSTEMS if known(s.method, {"noise": 0.1})])
def test_a_step_with_all_that_holds_a_discriminator_back(system: System) -> None:
    made = tiny(system, chosen := handicap(system))
    before = dict(made.method.state_dict())
    logs = check_a_step(made)
    if "balance" in chosen:
        assert logs.keys() >= {"accuracy real", "accuracy fake", "skipped real", "skipped fake"}
        assert made.method.state_dict() != before
    if "augment_target" in chosen:
        assert logs["augmentation"] == 0.0, "it begins without"
    plain = tiny(system, {key: chosen[key] for key in chosen if key == "loss"})
    assert check_a_step(plain) != logs


# ---- what is drawn and kept ----------------------------------------------------------------------


@every_system()
def test_what_a_model_file_keeps_makes_all_that_the_grid_shows(system: System) -> None:
    for chosen in choices(system.method):
        if unbounded(chosen) or not usual(system.method, chosen):
            continue
        made = tiny(system, chosen)
        kept = {name: made.nets[name].eval() for name in made.method.averaged}
        shown = made.method.made(kept, made.batch, torch.Generator().manual_seed(0))
        asked = [row for row in made.method.grid if row not in made.batch]
        assert {row.removeprefix("made ") for row in asked} == shown.keys()
        for key, pictures in shown.items():
            assert pictures.shape == made.batch.get(key, shown.get("image", pictures)).shape
            assert pictures.isfinite().all()


@pytest.mark.parametrize("prior", ["normal", "uniform"])
@every_system(DRAWING)
def test_what_is_drawn_depends_on_the_numbers_alone(system: System, prior: str) -> None:
    made = tiny(system, {"prior": prior})
    nets = {name: net.eval() for name, net in made.nets.items()}
    z = torch.randn(BATCH, 4, generator=torch.Generator().manual_seed(5))
    label = made.batch.get("label")
    drawn = made.method.generate(nets, z, label)  # type: ignore[attr-defined]
    fed = torch.erf(z / math.sqrt(2)) if prior == "uniform" else z
    torch.testing.assert_close(drawn, nets["G"](fed, label))
    assert (drawn[0] - drawn[1]).abs().max() > 1e-3
    sampling.seed(99)  # neither a step's draws nor torch's own have a part in it
    shown = made.method.made(nets, made.batch, torch.Generator().manual_seed(5))
    assert torch.equal(shown["image"], drawn)


@every_system(CODING)
def test_a_reconstruction_is_what_the_code_decodes_to(system: System) -> None:
    made = tiny(system, {})
    method: Any = made.method
    nets = {name: net.eval() for name, net in made.nets.items()}
    x = made.batch["image"]
    code = method.encode(nets, x)
    assert code.shape == (BATCH, 4)
    assert (code[0] - code[1]).abs().max() > 1e-3
    torch.testing.assert_close(method.encode(nets, x[:1]), code[:1])
    shown = method.made(nets, made.batch, torch.Generator())
    torch.testing.assert_close(shown["reconstruction"], method.decode(nets, code))


# ---- routes and state ----------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [{}, {"penalty": "r1", "lambda_feature": 1.0}], ids=str)
@every_system()
def test_an_update_moves_its_networks_and_no_other(system: System, extra: Choices) -> None:
    chosen = known(system.method, extra)
    for number in range(len(METHODS[system.method].updates)):
        made, before = (tiny(system, chosen) for _ in range(2))
        update = made.method.updates[number]
        made.method.schedule = lambda progress, update=update: (Step((update,)),)  # type: ignore
        made.trainer().step(iter([made.batch]))
        moved = {key for key in made.nets if furthest(made.nets[key], before.nets[key]) > 0}
        assert moved == set(update.trains)


@every_system()
def test_resumed_training_is_the_same_training(system: System) -> None:
    """With all that has a state: a history, spectral norms, the draws of latents and mixes, what
    holds a discriminator back, several batches to a step.
    """
    extra = {"pool_size": 3, "penalty": "two-sided", "lambda_feature": 1.0, "penalty_every": 2}
    extra |= {"discriminator_steps": 2, "prior": "uniform", "lambda_k": 0.1}
    chosen = known(system.method, extra | handicap(system))
    whole, first, second = (tiny(system, chosen, seed=n, weights="spectral") for n in (0, 0, 1))
    data = [{key: value.roll(n, -1) for key, value in whole.batch.items()} for n in range(10)]
    straight, begun, resumed = whole.trainer(), first.trainer(), second.trainer()
    start = whole.method.state_dict()
    for batch in data:
        straight.step(cycle([batch]))
    for batch in data[:5]:
        begun.step(cycle([batch]))
    resumed.load_state_dict(begun.state_dict())
    for batch in data[5:]:
        resumed.step(cycle([batch]))
    for key, net in whole.nets.items():
        state = second.nets[key].state_dict()
        assert all(torch.equal(value, state[k]) for k, value in net.state_dict().items()), key
    ends = [made.method.state_dict() for made in (whole, second)]
    torch.testing.assert_close(*ends, rtol=0, atol=0)
    if system.method != "ebgan":  # whose energies let nothing of it change
        assert str(start) != str(ends[0])


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"lambda_feature": 1.0, "pool_size": 1, "noise": 0.1},
        {"penalty": "two-sided", "lambda_orthogonal": 1.0},
    ],
    ids=str,
)
@every_system()
def test_routes_are_explained_without_numbers(system: System, extra: Choices) -> None:
    """`translate explain` measures on the meta device what a step does with numbers."""
    chosen = known(system.method, extra)
    made = tiny(system, chosen)
    expected = route_matrix(made.method, made.nets, made.batch)
    told = routes(document(system), overrides(system, chosen), system.method)
    assert told == expected
