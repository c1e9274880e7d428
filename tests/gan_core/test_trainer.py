"""The training loop against loops by hand, and what it does when numbers are not finite."""

import copy
import io
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_core.routing import Losses, Progress, Scene, Step, Update, trainable
from gan_core.trainer import Trainer, TrainingError, run

G_UPDATE, D_UPDATE = Update("g", ("G",)), Update("d", ("D",))
LR = 0.05
Poison = Callable[[int, str, Losses], Losses]


class Toy:
    """A small GAN on vectors, with everything that a method may have: two updates, terms of means
    over samples, randomness, and a state of its own."""

    updates = (G_UPDATE, D_UPDATE)
    averaged = ("G",)

    def __init__(
        self,
        *plans: Step,
        noise: float = 0.0,
        poison: Poison = lambda step, update, terms: terms,
    ) -> None:
        self.plans = plans or (Step((G_UPDATE, D_UPDATE)),)
        self.noise, self.poison = noise, poison
        self.step = 0
        self.drawn = torch.zeros(())
        self.observed: list[dict[str, float]] = []

    def schedule(self, progress: Progress) -> Sequence[Step]:
        self.step = progress.step + 1
        return self.plans

    def scene(self, nets: Mapping[str, nn.Module], batch: Mapping[str, Tensor]) -> Scene:
        return {"real": batch["x"], "fake": nets["G"](batch["z"])}

    def losses(self, update: Update, nets: Mapping[str, nn.Module], scene: Scene) -> Losses:
        real, fake, D = scene["real"], scene["fake"], nets["D"]
        if update is G_UPDATE:
            terms = {"deceive": softplus(-D(fake)).mean(), "size": 0.1 * fake.square().mean()}
        else:
            blur = torch.rand(()) * self.noise
            self.drawn = self.drawn + blur  # a state that the next losses depend on
            blur = blur + 0.1 * self.drawn
            fake = fake if self.plans[0].joint else fake.detach()
            judged = softplus(-D(real + blur)).mean() + softplus(D(fake)).mean()
            terms = {"judge": judged}
        return self.poison(self.step, update.name, terms)

    def observe(self, logs: Mapping[str, float]) -> None:
        self.observed.append(dict(logs))

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.drawn = state["drawn"]


def networks(dtype: torch.dtype = torch.float64, norm: bool = False, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    middle = nn.BatchNorm1d(4) if norm else nn.Identity()
    return nn.ModuleDict(
        {
            "G": nn.Sequential(nn.Linear(3, 4), middle, nn.Tanh(), nn.Linear(4, 2)),
            "D": nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)),
        }
    ).to(dtype)


def batches(
    dtype: torch.dtype = torch.float64, size: int = 6, start: int = 0, splits: int = 1
) -> Iterator[dict[str, Tensor]]:
    """By position; with ``splits`` each batch comes in that many parts."""
    while True:
        generator = torch.Generator().manual_seed(start)
        x = torch.randn(size, 2, generator=generator, dtype=dtype) + 1
        z = torch.randn(size, 3, generator=generator, dtype=dtype)
        parts = zip(x.chunk(splits), z.chunk(splits), strict=True)
        yield from ({"x": a, "z": b} for a, b in parts)
        start += 1


def trainer(method: Any, nets: Any, *, kind: str = "sgd", **arguments: Any) -> Trainer:
    makers = {
        "sgd": lambda p: torch.optim.SGD(p, lr=LR, momentum=0.5),
        "adam": lambda p: torch.optim.Adam(p, lr=LR),
    }
    optimizers = {u.name: makers[kind](trainable(u, nets)) for u in method.updates}
    given = {"steps": 100, "rate": lambda step, steps: 1.0} | arguments
    return Trainer(method, nets, optimizers, **given)


def weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()]).clone()


def everything(nets: Any) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in nets.state_dict().items()}


def same(a: Any, b: Any) -> bool:
    """Bit for bit, through nested containers."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def take(training: Trainer, data: Iterator[Any], steps: int) -> list[dict[str, float]]:
    return [training.step(data) for _ in range(steps)]


# ---- steps by hand -----------------------------------------------------------------------------


class ByHand:
    """Stochastic gradient descent with momentum 0.5, written out."""

    def __init__(self, net: nn.Module) -> None:
        self.parameters = list(net.parameters())
        self.moving = [torch.zeros_like(p) for p in self.parameters]

    def gradients(self, loss: Tensor, keep: bool = False) -> list[Tensor]:
        return list(torch.autograd.grad(loss, self.parameters, retain_graph=keep))

    @torch.no_grad()
    def step(self, gradients: list[Tensor], lr: float = LR) -> None:
        for p, m, g in zip(self.parameters, self.moving, gradients, strict=True):
            m.mul_(0.5).add_(g)
            p.sub_(lr * m)


def generator_loss(nets: Any, fake: Tensor) -> Tensor:
    return softplus(-nets["D"](fake)).mean() + 0.1 * (fake**2).mean()


def judge_loss(nets: Any, real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-nets["D"](real)).mean() + softplus(nets["D"](fake)).mean()


def close(a: Any, b: Any) -> bool:
    return all(0 <= (weights(a[n]) - weights(b[n])).abs().max() < 1e-12 for n in a)


@pytest.mark.parametrize("repeats", [1, 3])
def test_updates_follow_each_other_on_one_scene(repeats: int) -> None:
    ours, theirs = networks(), networks()
    training = trainer(Toy(Step((G_UPDATE, D_UPDATE), repeats=repeats)), ours)
    take(training, batches(), 4)
    data, g, d = batches(), ByHand(theirs["G"]), ByHand(theirs["D"])
    for _ in range(4 * repeats):
        batch = next(data)
        fake = theirs["G"](batch["z"])
        g.step(g.gradients(generator_loss(theirs, fake)))
        # the same fake as above, made by the generator as it was, judged by D as it is
        d.step(d.gradients(judge_loss(theirs, batch["x"], fake.detach())))
    assert close(ours, theirs)
    assert training.counts["step"] == 4
    assert training.counts["batches"] == 4 * repeats
    assert training.counts["images"] == 4 * repeats * 6


def test_joint_updates_walk_back_before_any_moves() -> None:
    """The generator, last in order, is still judged by the discriminator as it was."""
    ours, theirs, in_turn = networks(), networks(), networks()
    take(trainer(Toy(Step((D_UPDATE, G_UPDATE), joint=True)), ours), batches(), 4)
    data, g, d = batches(), ByHand(theirs["G"]), ByHand(theirs["D"])
    for _ in range(4):
        batch = next(data)
        fake = theirs["G"](batch["z"])
        of_d = d.gradients(judge_loss(theirs, batch["x"], fake), keep=True)
        of_g = g.gradients(generator_loss(theirs, fake))
        d.step(of_d)
        g.step(of_g)
    assert close(ours, theirs)
    take(trainer(Toy(Step((D_UPDATE, G_UPDATE))), in_turn), batches(), 4)
    assert not close(ours, in_turn), "one after the other is another thing"


def test_joint_updates_may_share_a_graph() -> None:
    """Both walk back through the second network of a chain, as in an autoencoder."""

    class Chain(Toy):
        def scene(self, nets: Mapping[str, nn.Module], batch: Mapping[str, Tensor]) -> Scene:
            return {"judged": nets["D"](nets["G"](batch["z"]))}

        def losses(self, update: Update, nets: Mapping[str, nn.Module], scene: Scene) -> Losses:
            return {update.name: (scene["judged"] - float(update is G_UPDATE)).square().mean()}

    ours, theirs = networks(), networks()
    take(trainer(Chain(Step((D_UPDATE, G_UPDATE), joint=True)), ours), batches(), 3)
    data, g, d = batches(), ByHand(theirs["G"]), ByHand(theirs["D"])
    for _ in range(3):
        judged = theirs["D"](theirs["G"](next(data)["z"]))
        of_d = d.gradients((judged**2).mean(), keep=True)
        of_g = g.gradients(((judged - 1) ** 2).mean())
        d.step(of_d)
        g.step(of_g)
    assert close(ours, theirs)
    assert not close(ours, networks())


@pytest.mark.parametrize("burst", [0, 1, 3])
def test_a_step_may_be_several(burst: int) -> None:
    """The critic alone on batches of its own, then both on one more."""
    ours, theirs = networks(), networks()
    plans = Step((D_UPDATE,), repeats=burst), Step((D_UPDATE, G_UPDATE))
    training = trainer(Toy(*plans), ours, ema_half_life=50.0)
    training.counts["images"] = 10**6
    averaged = weights(training.average.nets["G"])
    data, g, d = batches(), ByHand(theirs["G"]), ByHand(theirs["D"])
    for _ in range(3):
        logs = training.step(batches(start=training.counts["batches"]))
        for alone in [True] * burst + [False]:
            batch = next(data)
            fake = theirs["G"](batch["z"])
            judged = judge_loss(theirs, batch["x"], fake.detach())
            d.step(d.gradients(judged))
            if not alone:
                deceived = generator_loss(theirs, fake)
                g.step(g.gradients(deceived))
        assert close(ours, theirs)
        assert logs["judge"] == pytest.approx(judged.item(), rel=1e-12), "the last of the step"
        assert logs["deceive"] + logs["size"] == pytest.approx(deceived.item(), rel=1e-12)
        share = 0.5 ** (6 * (burst + 1) / 50)
        averaged = share * averaged + (1 - share) * weights(ours["G"])
        assert (weights(training.average.nets["G"]) - averaged).abs().max() < 1e-12
    assert training.counts["step"] == 3
    assert training.counts["batches"] == 3 * (burst + 1)
    assert training.counts["images"] == 10**6 + 3 * (burst + 1) * 6
    assert len(training.method.observed) == 3, "observed once a step"


def test_steps_may_differ() -> None:
    """The method is asked once before each, and told how far the run is."""
    asked: list[Progress] = []

    class Bursts(Toy):
        def schedule(self, progress: Progress) -> Sequence[Step]:
            asked.append(progress)
            return Step((D_UPDATE,), repeats=2 - progress.step), Step((G_UPDATE,))

    nets = networks()
    logs = take(trainer(Bursts(), nets, steps=3), batches(), 3)
    assert asked == [Progress(0, 3, 0), Progress(1, 3, 18), Progress(2, 3, 30)]
    assert ["judge" in line for line in logs] == [True, True, False]
    assert all("deceive" in line for line in logs)


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize(
    "plan",
    [Step((G_UPDATE,)), Step((D_UPDATE,)), Step((D_UPDATE, G_UPDATE), joint=True)],
    ids=["g", "d", "joint"],
)
def test_accumulation_equals_one_large_batch(plan: Step, parts: int) -> None:
    whole, divided = networks(), networks()
    one = trainer(Toy(plan), whole)
    many = trainer(Toy(plan), divided, accumulate=parts)
    take(one, batches(), 3)
    take(many, batches(splits=parts), 3)
    assert close(whole, divided)
    assert not close(whole, networks())
    assert one.counts["images"] == many.counts["images"] == 18
    assert (one.counts["batches"], many.counts["batches"]) == (3, 3 * parts)


def test_accumulation_makes_the_scene_anew_for_each_update() -> None:
    """The second update sees what the generator makes after the first; memory is for one part."""
    ours, theirs = networks(), networks()
    take(trainer(Toy(), ours, accumulate=2), batches(splits=2), 3)
    data, g, d = batches(), ByHand(theirs["G"]), ByHand(theirs["D"])
    for _ in range(3):
        batch = next(data)
        g.step(g.gradients(generator_loss(theirs, theirs["G"](batch["z"]))))
        fake = theirs["G"](batch["z"]).detach()
        d.step(d.gradients(judge_loss(theirs, batch["x"], fake)))
    assert close(ours, theirs)


def test_learning_rate_is_the_share_of_the_base_rate() -> None:
    ours, theirs = networks(), networks()
    asked: list[tuple[int, int]] = []

    def rate(step: int, steps: int) -> float:
        asked.append((step, steps))
        return 1 / (1 + step)

    logs = take(trainer(Toy(Step((G_UPDATE,))), ours, rate=rate, steps=3), batches(), 3)
    assert asked == [(0, 3), (1, 3), (2, 3)]
    assert [line["lr g"] for line in logs] == pytest.approx([LR, LR / 2, LR / 3])
    assert [line["lr d"] for line in logs] == pytest.approx([LR, LR / 2, LR / 3])
    data, g = batches(), ByHand(theirs["G"])
    for step in range(3):
        fake = theirs["G"](next(data)["z"])
        g.step(g.gradients(generator_loss(theirs, fake)), lr=LR / (1 + step))
    assert close(ours, theirs)


def test_logs() -> None:
    nets, method = networks(), Toy()
    batch = next(batches())
    fake = nets["G"](batch["z"])
    expected = 0.1 * (fake**2).mean().item()
    gradient = torch.autograd.grad(generator_loss(nets, fake), list(nets["G"].parameters()))
    logs = trainer(method, nets).step(batches())
    terms = ["deceive", "gradient g", "size", "judge", "gradient d", "lr g", "lr d"]
    assert sorted(logs) == sorted(terms)
    assert logs["size"] == pytest.approx(expected, rel=1e-12)
    norm = math.sqrt(sum((g**2).sum().item() for g in gradient))
    assert logs["gradient g"] == pytest.approx(norm, rel=1e-12)
    assert method.observed == [logs]


def test_average_forgets_half_in_its_half_life() -> None:
    """Once the run is long: what was there is half gone after ``half_life`` images."""
    nets = networks()
    training = trainer(Toy(), nets, ema_half_life=60.0)
    training.counts["images"] = 10**6
    start = weights(training.average.nets["G"])
    expected = start
    for _ in range(10):  # 6 images each
        training.step(batches())
        share = 0.5 ** (6 / 60)
        expected = share * expected + (1 - share) * weights(nets["G"])
    assert (weights(training.average.nets["G"]) - expected).abs().max() < 1e-12
    with torch.no_grad():
        for p in nets["G"].parameters():
            p.zero_()
    held = weights(training.average.nets["G"])
    for _ in range(10):
        training.average.update(nets, 6, 10**6)
    assert (weights(training.average.nets["G"]) - held / 2).abs().max() < 1e-12


def test_average_of_repeats_counts_all_their_images() -> None:
    nets = networks()
    training = trainer(Toy(Step((D_UPDATE, G_UPDATE), repeats=4)), nets, ema_half_life=50.0)
    training.counts["images"] = 10**6
    before = weights(training.average.nets["G"])
    training.step(batches())
    share = 0.5 ** (24 / 50)
    expected = share * before + (1 - share) * weights(nets["G"])
    assert (weights(training.average.nets["G"]) - expected).abs().max() < 1e-12


def test_no_half_life_keeps_the_weights_themselves() -> None:
    nets = networks(norm=True)
    training = trainer(Toy(), nets)
    take(training, batches(), 2)
    assert same(training.average.nets["G"].state_dict(), nets["G"].state_dict())


def test_accumulate_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="accumulate must be 1 or more, not 0"):
        trainer(Toy(), networks(), accumulate=0)


# ---- projection --------------------------------------------------------------------------------


def into_box(parameters: list[Tensor]) -> None:
    for p in parameters:
        p.clamp_(-0.3, 0.3)


HELD = Update("d", ("D",), project=into_box)


class Clipped(Toy):
    updates = (G_UPDATE, HELD)


def test_projection_follows_each_step_of_its_update() -> None:
    """Not before it, and of that update's networks alone; the optimiser's memory is left alone."""
    ours, theirs = networks(), networks()
    training = trainer(Clipped(Step((HELD,), repeats=2), Step((G_UPDATE, HELD))), ours)
    assert weights(ours["D"]).abs().max() > 0.35, "first weights are not its business"
    generators = weights(ours["G"])
    data, g, d = batches(), ByHand(theirs["G"]), ByHand(theirs["D"])
    for _ in range(4):
        training.step(batches(start=training.counts["batches"]))
        for alone in (True, True, False):
            batch = next(data)
            fake = theirs["G"](batch["z"])
            if not alone:
                g.step(g.gradients(generator_loss(theirs, fake)))
            d.step(d.gradients(judge_loss(theirs, batch["x"], fake.detach())))
            with torch.no_grad():
                for p in theirs["D"].parameters():
                    p.copy_(p.clamp(-0.3, 0.3))
        assert close(ours, theirs)
    assert weights(ours["D"]).abs().max() == 0.3
    assert weights(ours["G"]).abs().max() > 0.35
    assert not torch.equal(weights(ours["G"]), generators)
    assert all(p.requires_grad and p.is_leaf for p in ours.parameters())


def test_projection_waits_for_all_joint_gradients() -> None:
    ours, theirs = networks(), networks()
    take(trainer(Clipped(Step((HELD, G_UPDATE), joint=True)), ours), batches(), 3)
    data, g, d = batches(), ByHand(theirs["G"]), ByHand(theirs["D"])
    for _ in range(3):
        batch = next(data)
        fake = theirs["G"](batch["z"])
        of_d = d.gradients(judge_loss(theirs, batch["x"], fake), keep=True)
        of_g = g.gradients(generator_loss(theirs, fake))
        d.step(of_d)
        g.step(of_g)
        with torch.no_grad():
            for p in theirs["D"].parameters():
                p.copy_(p.clamp(-0.3, 0.3))
    assert close(ours, theirs)


def test_a_skipped_batch_is_not_projected() -> None:
    nets = networks()
    method = Clipped(Step((HELD,)), poison=spoils("judge", range(1, 2)))
    training, data = trainer(method, nets), batches()
    before = everything(nets)
    training.step(data)
    assert training.counts["skipped"] == 1
    assert same(before, everything(nets))
    training.step(data)
    assert weights(nets["D"]).abs().max() == 0.3


# ---- numbers that are not finite ---------------------------------------------------------------


def spoils(term: str, steps: range, only_16_bit: bool = False, value: float = math.nan) -> Poison:
    """A loss that is not finite at certain steps, always or only under autocast."""

    def poison(step: int, update: str, terms: Losses) -> Losses:
        spared = only_16_bit and not torch.is_autocast_enabled("cpu")
        if term in terms and step in steps and not spared:
            terms[term] = terms[term] * value
        return terms

    return poison


def flat_root(terms: Losses) -> Losses:
    """Loss 0 as before, gradient infinite."""
    name = next(iter(terms))
    return terms | {"root": (terms[name] * 0).sqrt()}


def test_a_bad_16_bit_step_is_done_again_in_fp32() -> None:
    said: list[str] = []
    method = Toy(noise=0.3, poison=spoils("deceive", range(3, 4), only_16_bit=True))
    nets = networks(torch.float32, norm=True)
    training = trainer(method, nets, kind="adam", precision="bf16", say=said.append)
    data = batches(torch.float32)
    take(training, data, 2)
    assert said == []

    other = networks(torch.float32, norm=True, seed=1)
    exact = trainer(Toy(noise=0.3), other, kind="adam")
    exact.load_state_dict(copy.deepcopy(training.state_dict()))
    expected = exact.step(batches(torch.float32, start=2))
    logs = training.step(data)

    assert logs == expected
    ours, theirs = training.state_dict(), exact.state_dict()
    assert same(everything(nets), everything(other))
    assert same(ours["optimizers"], theirs["optimizers"])
    assert same(ours["method"], theirs["method"])
    assert training.counts == exact.counts | {"redone": 1}
    assert said == ["step 3: loss deceive is not finite in update 'g'; done again in fp32"]
    training.step(data)  # and on in bf16
    assert training.counts["redone"] == 1
    assert len(said) == 1


def test_bf16_is_not_fp32() -> None:
    """The test above would say nothing if both were the same."""
    finished = []
    for precision in ("fp32", "bf16"):
        nets = networks(torch.float32)
        take(trainer(Toy(), nets, precision=precision), batches(torch.float32), 3)
        finished.append(weights(nets))
    difference = (finished[0] - finished[1]).abs().max()
    assert 1e-6 < difference < 1e-2


def test_only_the_update_that_failed_is_done_again() -> None:
    plain, mixed = networks(torch.float32), networks(torch.float32)
    trainer(Toy(), plain, precision="bf16").step(batches(torch.float32))
    method = Toy(poison=spoils("judge", range(1, 2), only_16_bit=True))
    training = trainer(method, mixed, precision="bf16")
    training.step(batches(torch.float32))
    assert training.counts["redone"] == 1
    assert same(mixed["G"].state_dict(), plain["G"].state_dict()), "its bf16 step stands"

    by_hand, batch = networks(torch.float32), next(batches(torch.float32))
    by_hand["G"].load_state_dict(mixed["G"].state_dict())
    d = ByHand(by_hand["D"])
    d.step(d.gradients(judge_loss(by_hand, batch["x"], by_hand["G"](batch["z"]).detach())))
    assert (weights(by_hand["D"]) - weights(mixed["D"])).abs().max() < 1e-7
    assert (weights(plain["D"]) - weights(mixed["D"])).abs().max() > 1e-7


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_batch_that_stays_bad_is_skipped(value: float, precision: str) -> None:
    said: list[str] = []
    method = Toy(noise=0.3, poison=spoils("deceive", range(2, 3), value=value))
    nets = networks(torch.float32, norm=True)
    training = trainer(method, nets, kind="adam", precision=precision, say=said.append)
    data = batches(torch.float32)
    training.step(data)
    before = copy.deepcopy(training.state_dict())
    training.step(data)
    after = training.state_dict()
    for part in ("nets", "optimizers", "method", "scales"):  # running statistics among them
        assert same(before[part], after[part]), part
    assert after["counts"] == before["counts"] | {
        "step": 2,
        "batches": 2,
        "images": 12,
        "skipped": 1,
        "in_row": 1,
    }
    assert said == ["step 2: loss deceive is not finite in update 'g'; batch skipped"]
    training.step(data)
    assert training.counts["skipped"] == 1
    assert training.counts["in_row"] == 0
    assert not same(before["nets"], training.state_dict()["nets"])


def test_running_statistics_and_state_go_back() -> None:
    """Where the second update fails, the method's state is put back too."""
    nets = networks(norm=True)
    training = trainer(Toy(noise=0.3, poison=spoils("judge", range(2, 3))), nets)
    data = batches()
    training.step(data)
    statistics = [b.clone() for b in nets.buffers()]
    drawn, judge, generator = training.method.drawn, weights(nets["D"]), weights(nets["G"])
    assert drawn > 0
    training.step(data)
    assert same(list(nets.buffers()), statistics)
    assert torch.equal(training.method.drawn, drawn)
    assert torch.equal(weights(nets["D"]), judge)
    assert not torch.equal(weights(nets["G"]), generator), "what was applied stands"
    training.step(data)
    assert not same(list(nets.buffers()), statistics)


def test_an_infinite_gradient_names_its_term() -> None:
    said: list[str] = []
    method = Toy(poison=lambda step, update, terms: flat_root(terms) if update == "d" else terms)
    nets = networks()
    before = weights(nets["D"])
    logs = trainer(method, nets, say=said.append).step(batches())
    assert said == ["step 1: gradient of root is not finite in update 'd'; batch skipped"]
    assert "judge" not in logs
    assert torch.equal(weights(nets["D"]), before)
    assert all(p.requires_grad for p in nets.parameters())


def test_joint_updates_are_applied_together_or_not_at_all() -> None:
    plan = Step((G_UPDATE, D_UPDATE), joint=True)
    nets = networks()
    training = trainer(Toy(plan, poison=spoils("judge", range(2))), nets)
    before = everything(nets)
    training.step(batches())
    assert same(before, everything(nets))
    assert training.counts["skipped"] == 1


@pytest.mark.parametrize("bad", [1, 2, 3])
@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda terms: terms | {"size": terms["size"] * math.nan}, "loss size"),
        (flat_root, "gradient of root"),
    ],
)
def test_every_accumulated_part_is_checked(
    bad: int, spoil: Callable[[Losses], Losses], what: str
) -> None:
    calls, said = 0, []

    def poison(step: int, update: str, terms: Losses) -> Losses:
        nonlocal calls
        calls += 1
        harmless = terms | {"root": terms["size"].sqrt()} if "root" in what else terms
        return spoil(terms) if (calls - 1) % 3 + 1 == bad else harmless

    nets = networks()
    method = Toy(Step((G_UPDATE,)), poison=poison)
    training = trainer(method, nets, accumulate=3, say=said.append)
    before = everything(nets)
    training.step(batches(splits=3))
    assert said == [f"step 1: {what} is not finite in update 'g'; batch skipped"]
    assert same(before, everything(nets))
    assert training.counts["images"] == 6


def test_accumulated_logs_are_means() -> None:
    whole = trainer(Toy(), networks()).step(batches())
    divided = trainer(Toy(), networks(), accumulate=3).step(batches(splits=3))
    for name in ("deceive", "size", "gradient g"):
        assert divided[name] == pytest.approx(whole[name], rel=1e-12)


def watching(method: Toy, precision: str = "fp32", **arguments: Any) -> tuple[Any, Trainer]:
    nets = networks(torch.float32 if precision != "fp32" else torch.float64)
    return nets, trainer(method, nets, precision=precision, **arguments)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_figure_trains_nothing(precision: str) -> None:
    """However large: a step stays what it was bit for bit, and the method is told the figure."""

    def watched(step: int, update: str, terms: Losses) -> Losses:
        first = next(iter(terms.values()))
        return terms | {f"figure {update}": first.detach().float() * 0 + 1000 * step + 0.5}

    dtype = torch.float32 if precision != "fp32" else torch.float64
    (plain, without), (nets, training) = (
        watching(method, precision) for method in (Toy(), Toy(poison=watched))
    )
    for step in (1, 2, 3):
        expected = without.step(batches(dtype, start=step))
        logs = training.step(batches(dtype, start=step))
        assert logs.pop("figure g") == logs.pop("figure d") == 1000 * step + 0.5
        assert logs == expected
        assert training.method.observed[-1]["figure g"] == 1000 * step + 0.5
    assert same(everything(plain), everything(nets))
    assert training.counts["skipped"] == training.counts["redone"] == 0


def test_a_figure_is_a_mean_over_the_parts_of_a_batch() -> None:
    def watched(step: int, update: str, terms: Losses) -> Losses:
        parts.append(float(len(parts)))
        return terms | {"figure": torch.tensor(parts[-1])}

    parts: list[float] = []
    _, training = watching(Toy(Step((D_UPDATE,)), poison=watched), accumulate=4)
    assert training.step(batches(splits=3))["figure"] == (0 + 1 + 2 + 3) / 4
    assert training.step(batches(splits=3))["figure"] == (4 + 5 + 6 + 7) / 4


def test_a_term_to_watch_needs_no_gradient() -> None:
    """Also where another term's gradient has to be blamed."""
    said: list[str] = []

    def poison(step: int, update: str, terms: Losses) -> Losses:
        watched = terms | {"watched": terms["size"].detach()}
        return flat_root(watched) if step == 2 else watched

    method = Toy(Step((G_UPDATE,)), poison=poison)
    training, data = trainer(method, networks(), say=said.append), batches()
    logs = training.step(data)
    assert logs["watched"] == logs["size"]
    training.step(data)
    assert said == ["step 2: gradient of root is not finite in update 'g'; batch skipped"]


def test_training_stops_after_too_many_skips_in_a_row() -> None:
    nets = networks()
    method = Toy(Step((G_UPDATE,)), poison=spoils("size", range(4, 99)))
    training = trainer(method, nets, max_skips=3)
    data = batches()
    take(training, data, 3)
    good = everything(nets)
    take(training, data, 2)
    message = r"^step 6: loss size is not finite in update 'g'; 3 batches in a row were skipped\."
    with pytest.raises(TrainingError, match=message) as caught:
        training.step(data)
    assert "lower optimizer.lr and resume" in str(caught.value)
    assert same(good, everything(nets))
    assert training.counts["skipped"] == 3


def test_skips_that_are_not_in_a_row_do_not_stop() -> None:
    def every_other(step: int, update: str, terms: Losses) -> Losses:
        return spoils("size", range(2, 99, 2))(step, update, terms)

    training = trainer(Toy(Step((G_UPDATE,)), poison=every_other), networks(), max_skips=2)
    take(training, batches(), 9)
    assert training.counts["skipped"] == 4


def test_counters_go_into_the_state() -> None:
    poison = spoils("size", range(2, 4))
    first = trainer(Toy(Step((G_UPDATE,)), poison=poison), networks(), max_skips=4)
    take(first, batches(), 3)
    second = trainer(Toy(Step((G_UPDATE,)), poison=spoils("size", range(99))), networks())
    second.load_state_dict(through_a_file(first.state_dict()))
    assert second.counts == first.counts
    assert (first.counts["skipped"], first.counts["in_row"]) == (2, 2)
    second.max_skips = 4
    take(second, batches(start=3), 1)
    with pytest.raises(TrainingError, match=r"^step 5: .* 4 batches in a row"):
        take(second, batches(start=4), 1)


# ---- fp16 --------------------------------------------------------------------------------------


class Linear(Toy):
    """One weight whose scaled gradient is 12 times the scale: beyond fp16's 65504 above 2^12."""

    updates = (G_UPDATE,)

    def __init__(self) -> None:
        super().__init__(Step(self.updates))

    def losses(self, update: Update, nets: Mapping[str, nn.Module], scene: Scene) -> Losses:
        return {"steep": 12.0 * scene["fake"].float().mean()}


def test_fp16_halves_its_scale_until_it_fits() -> None:
    said: list[str] = []
    nets = nn.ModuleDict({"G": nn.Linear(3, 1, bias=False)})
    nn.init.zeros_(nets["G"].weight)
    training = trainer(Linear(), nets, precision="fp16", say=said.append)
    data = batches(torch.float32, size=1)
    scales = []
    for _ in range(4):
        training.step(data)
        scales.append(training.scales["g"].value)
    assert scales == [2.0**13, 2.0**12, 2.0**12, 2.0**12]
    assert training.counts["redone"] == 2
    assert training.counts["skipped"] == 0
    assert said[0] == "step 1: gradient of steep is not finite in update 'g'; done again in fp32"

    exact = nn.ModuleDict({"G": nn.Linear(3, 1, bias=False)})
    nn.init.zeros_(exact["G"].weight)
    take(trainer(Linear(), exact), batches(torch.float32, size=1), 4)
    ours, theirs = weights(nets), weights(exact)
    assert theirs.abs().min() > 0.1
    assert torch.allclose(ours, theirs, rtol=2e-3, atol=0), "the scale is taken out again"
    assert not torch.equal(ours, theirs), "it was not all done in fp32"


def test_fp16_scale_is_part_of_the_state() -> None:
    nets = nn.ModuleDict({"G": nn.Linear(3, 1, bias=False)})
    training = trainer(Linear(), nets, precision="fp16")
    take(training, batches(torch.float32, size=1), 4)
    other = trainer(Linear(), copy.deepcopy(nets), precision="fp16")
    other.load_state_dict(through_a_file(training.state_dict()))
    assert (other.scales["g"].value, other.scales["g"].good) == (2.0**12, 2)


def test_fp16_trains_a_gan() -> None:
    nets, exact = networks(torch.float32), networks(torch.float32)
    training = trainer(Toy(), nets, precision="fp16")
    take(training, batches(torch.float32), 5)
    take(trainer(Toy(), exact), batches(torch.float32), 5)
    assert training.counts["skipped"] == training.counts["redone"] == 0
    assert training.scales["g"].good == training.scales["d"].good == 5
    assert 0 < (weights(nets) - weights(exact)).abs().max() < 5e-3
    assert (weights(nets) - weights(networks(torch.float32))).abs().max() > LR / 10


# ---- resuming ----------------------------------------------------------------------------------


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(
    ("precision", "repeats", "accumulate"), [("fp32", 1, 1), ("bf16", 2, 1), ("fp32", 2, 2)]
)
def test_resumed_at_any_step_it_is_the_same_run(
    precision: str, repeats: int, accumulate: int
) -> None:
    def make(seed: int) -> tuple[Any, Trainer]:
        nets = networks(torch.float32, norm=True, seed=seed)
        nets["D"].insert(1, nn.Dropout(0.5))
        method = Toy(
            Step((G_UPDATE, D_UPDATE), repeats=repeats),
            noise=0.3,
            poison=spoils("deceive", range(2, 3)),
        )
        return nets, trainer(
            method,
            nets,
            kind="adam",
            precision=precision,
            accumulate=accumulate,
            ema_half_life=30.0,
            steps=6,
            rate=lambda step, steps: 1 - step / steps,
        )

    _, straight = make(0)
    whole = take(straight, batches(torch.float32), 6)
    assert straight.counts["skipped"] == repeats
    for k in range(7):
        _, first = make(0)
        take(first, batches(torch.float32), k)
        state = through_a_file(first.state_dict())
        _, second = make(1)  # other weights, which must not matter
        torch.manual_seed(1234 + k)  # nor what the process drew before
        second.load_state_dict(state)
        data = batches(torch.float32, start=second.counts["batches"])
        assert same(take(second, data, 6 - k), whole[k:]), k
        assert same(second.state_dict(), straight.state_dict()), k


def test_every_step_has_randomness_of_its_own() -> None:
    def drawn(seed: int) -> list[float]:
        training = trainer(Toy(noise=1.0), networks(), seed=seed)
        data, totals = batches(), [0.0]
        for _ in range(4):
            training.step(data)
            totals.append(float(training.method.drawn))
        return [b - a for a, b in itertools.pairwise(totals)]

    assert len(set(drawn(0))) == 4
    assert drawn(0) == drawn(0)
    assert not set(drawn(0)) & set(drawn(1))


def test_repeats_of_a_step_do_not_repeat_its_randomness() -> None:
    drawn: list[float] = []

    class Listening(Toy):
        def losses(self, update: Update, nets: Mapping[str, nn.Module], scene: Scene) -> Losses:
            drawn.append(torch.rand(()).item())
            return super().losses(update, nets, scene)

    take(trainer(Listening(Step((D_UPDATE,), repeats=3)), networks()), batches(), 2)
    assert len(drawn) == len(set(drawn)) == 6


# ---- run() -------------------------------------------------------------------------------------


def test_run_calls_at_intervals_and_at_the_end() -> None:
    training = trainer(Toy(), networks(), steps=7)
    calls: list[tuple[str, int]] = []
    often, seldom = (
        lambda logs, name=name: calls.append((name, training.counts["step"])) for name in "os"
    )
    assert run(training, batches(), every={often: 3, seldom: 100}, stop=lambda: False)
    assert calls == [("o", 3), ("o", 6), ("o", 7), ("s", 7)]


def test_run_stops_when_asked_and_goes_on() -> None:
    training = trainer(Toy(), networks(), steps=5)
    assert not run(training, batches(), every={}, stop=lambda: training.counts["step"] == 2)
    assert training.counts["step"] == 2
    assert run(training, batches(start=2), every={}, stop=lambda: False)
    assert training.counts["step"] == 5
    assert run(training, batches(start=5), every={}, stop=lambda: False), "nothing left to do"
    assert training.counts["step"] == 5
