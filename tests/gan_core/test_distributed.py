"""Two processes that train together against one that trains alone.

torchrun runs this very file in both; what each of them computed is laid in a folder, and the tests
look at it. All in float64, where sums in another order differ by 1e-16.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_core import distributed, sampling
from gan_core.routing import Losses, Progress, Scene, Step, Update, trainable
from gan_core.trainer import Trainer, run

STEPS, BATCH = 4, 4
G_UPDATE, D_UPDATE = Update("g", ("G",)), Update("d", ("D",))
IN_TURN = Step((G_UPDATE, D_UPDATE))
JOINT = Step((D_UPDATE, G_UPDATE), joint=True)


def here() -> bool:
    """In one of two processes, or in the only one."""
    return distributed.rank() == distributed.world() - 1


def spoiled_loss(step: int, terms: Losses) -> Losses:
    bad = step == 2 and "judge" in terms and here()
    return terms | {"judge": terms["judge"] * torch.nan} if bad else terms


def spoiled_gradient(step: int, terms: Losses) -> Losses:
    """Of a term whose value is 0 as everywhere."""
    if "judge" not in terms:
        return terms
    flat = terms["judge"] * 0
    return terms | {"root": flat.sqrt() if step == 2 and here() else flat}


def spoiled_in_16_bit(step: int, terms: Losses) -> Losses:
    return spoiled_loss(step, terms) if torch.is_autocast_enabled("cpu") else terms


class Game:
    """A GAN with latents, a penalty of second order and, on request, what each process has of its
    own: a history, in which chance weighs what is new."""

    updates = (G_UPDATE, D_UPDATE)
    averaged = ("G",)

    def __init__(self, plan: Step = IN_TURN, *, spoil: Any = None, history: bool = False) -> None:
        self.plan, self.spoil, self.history = plan, spoil, history
        self.step = 0
        self.past = torch.zeros((), dtype=torch.float64)

    def schedule(self, progress: Progress) -> tuple[Step]:
        self.step = progress.step + 1
        return (self.plan,)

    def scene(self, nets: Mapping[str, nn.Module], batch: Mapping[str, Tensor]) -> Scene:
        z = sampling.normal(len(batch["x"]), 3, like=batch["x"])
        return {"real": batch["x"], "fake": nets["G"](z)}

    def losses(self, update: Update, nets: Mapping[str, nn.Module], scene: Scene) -> Losses:
        real, fake, D = scene["real"], scene["fake"], nets["D"]
        if update is G_UPDATE:
            terms = {"deceive": softplus(-D(fake)).mean()}
        else:
            share = sampling.uniform(len(real), 1, like=real)
            mixed = torch.lerp(real, fake.detach(), share).requires_grad_()
            (slope,) = torch.autograd.grad(D(mixed).sum(), mixed, create_graph=True)
            judged = softplus(-D(real)).mean() + softplus(D(self.shown(fake.detach()))).mean()
            terms = {"judge": judged, "penalty": (slope.norm(dim=1) - 1).square().mean()}
        return self.spoil(self.step, terms) if self.spoil else terms

    def shown(self, fake: Tensor) -> Tensor:
        if self.history:
            fake = self.past = self.past / 2 + torch.rand(len(fake), 1) * fake
        return fake

    def observe(self, logs: Mapping[str, float]) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"past": self.past}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.past = state["past"]


def trainer(method: Any, seed: int = 0, **arguments: Any) -> Trainer:
    torch.manual_seed(seed)
    G = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    D = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    nets = {"G": G, "D": D}
    made = {u.name: torch.optim.Adam(trainable(u, nets), lr=0.05) for u in method.updates}
    given = {"steps": STEPS, "rate": lambda step, steps: 1.0, "ema_half_life": 30.0}
    return Trainer(method, nets, made, **given | arguments)


def batches(start: int = 0) -> Iterator[dict[str, Tensor]]:
    """This process's part of the batches by position."""
    while True:
        generator = torch.Generator().manual_seed(start)
        x = torch.randn(BATCH, 2, generator=generator, dtype=torch.float64) + 1
        yield {"x": x.chunk(distributed.world())[distributed.rank()]}
        start += 1


CASES: dict[str, Any] = {
    "in turn": lambda: (Game(IN_TURN), {}),
    "joint": lambda: (Game(JOINT), {}),
    "in turn, accumulated": lambda: (Game(IN_TURN), {"accumulate": 2}),
    "joint, accumulated": lambda: (Game(JOINT), {"accumulate": 2}),
    "repeated": lambda: (Game(Step((D_UPDATE,), repeats=3)), {}),
    "loss": lambda: (Game(spoil=spoiled_loss), {}),
    "gradient": lambda: (Game(spoil=spoiled_gradient), {}),
    "joint gradient": lambda: (Game(JOINT, spoil=spoiled_gradient), {}),
    "16 bit": lambda: (Game(spoil=spoiled_in_16_bit), {"precision": "fp16"}),
}


def train(case: str) -> dict[str, Any]:
    method, arguments = CASES[case]()
    said: list[str] = []
    training, data = trainer(method, say=said.append, **arguments), batches()
    logs = [training.step(data) for _ in range(STEPS)]
    state = training.state_dict()
    del state["method"]  # of each process
    return {"state": state, "logs": logs, "said": said}


# ---- what the two processes do -----------------------------------------------------------------


def first_launch(out: Path) -> dict[str, Any]:
    rank = distributed.rank()
    found: dict[str, Any] = {case: train(case) for case in CASES}
    found["who"] = (rank, distributed.world())
    found["first weights"] = weights(trainer(Game(), seed=rank))
    found["any"] = [distributed.any_rank(flag) for flag in (rank == 0, rank == 1, False, True)]
    found["gathered"] = distributed.gather({"name": f"rank {rank}", "x": torch.full((2,), rank)})
    found["means"] = means(rank)

    history = trainer(Game(history=True))
    found["history logs"] = [history.step(data) for data in [batches()] for _ in range(STEPS)]
    found["history"] = history.state_dict()

    stopped = trainer(Game(history=True))
    found["done"] = run(
        stopped, batches(), every={}, stop=lambda: rank == 1 and stopped.counts["step"] == 2
    )
    state = stopped.state_dict()
    if rank == 0:
        torch.save(state, out / "state.pt")
    return found


def means(rank: int) -> list[Tensor]:
    """Of tensors that are 1 on rank 0 and 4 on rank 1, times 0, 1, 2 ... by their own order."""
    x = torch.arange(24.0).view(1, 2, 3, 4) * (1 + 3 * rank)
    tensors = [
        x.contiguous(memory_format=torch.channels_last),
        torch.tensor(1.0 + 3 * rank, dtype=torch.float64),
        nn.Parameter(x[0, 0].clone()),
        x.mT,
        torch.tensor(torch.inf if rank else 1.0),
    ]
    distributed.mean_(tensors)
    return [tensor.detach() for tensor in tensors]


def second_launch(out: Path) -> dict[str, Any]:
    training = trainer(Game(history=True), seed=1)  # other weights, which must not matter
    torch.manual_seed(99)  # nor what was drawn before
    training.load_state_dict(torch.load(out / "state.pt", weights_only=True))
    data = batches(training.counts["batches"])
    logs = [training.step(data) for _ in range(STEPS - 2)]
    return {"history logs": logs, "history": training.state_dict()}


def exchanging() -> int | None:
    """How many threads of this process exchange something; Linux alone says."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return sum("gloo" in name for name in names) if names else None


def main(which: str, out: Path) -> None:
    with distributed.start(torch.device("cpu")) as device:
        rank = distributed.rank()
        found = {"first": first_launch, "second": second_launch}[which](out)
        found["threads"] = exchanging()
    found["device"] = str(device)
    found["who afterwards"] = (distributed.rank(), distributed.world())
    found["threads afterwards"] = exchanging()
    torch.save(found, out / f"{which} {rank}.pt")


# ---- looking at it -----------------------------------------------------------------------------


def launch(which: str, out: Path) -> list[dict[str, Any]]:
    """What each of two processes found."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    process = subprocess.Popen(
        [*torchrun, "--nproc-per-node", "2", __file__, which, str(out)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, said = process.communicate(timeout=120)
    finally:
        process.terminate()  # it then ends those that it started
    assert process.returncode == 0, said
    return [torch.load(out / f"{which} {rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def first(out: Path) -> Any:
    return launch("first", out)


def weights(training: Trainer) -> Tensor:
    return torch.cat([p.detach().flatten() for n in training.nets.values() for p in n.parameters()])


def agree(a: Any, b: Any, closeness: float = 0.0) -> bool:
    """Through nested containers, tensors and numbers to a relative closeness; 0: bit for bit."""
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(agree(a[k], b[k], closeness) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(partial(agree, closeness=closeness), a, b))
    if isinstance(a, float | Tensor) and closeness:
        a, b = torch.as_tensor(a), torch.as_tensor(b)
        return a.dtype == b.dtype and torch.allclose(a, b, rtol=closeness, atol=1e-13)
    return torch.equal(a, b) if isinstance(a, Tensor) else bool(a == b)


def test_agree_can_say_no() -> None:
    assert agree({"a": [1.0, torch.ones(2)]}, {"a": [1.0, torch.ones(2)]})
    assert not agree([1.0], [1.0 + 1e-15])
    assert agree([1.0], [1.0 + 1e-15], 1e-10)
    assert not agree([torch.ones(2)], [torch.ones(2) + 1e-6], 1e-10)


@pytest.mark.slow
def test_torchrun_is_understood(first: Any) -> None:
    assert [found["who"] for found in first] == [(0, 2), (1, 2)]
    assert [found["who afterwards"] for found in first] == [(0, 1), (0, 1)]
    assert [found["device"] for found in first] == ["cpu", "cpu"]


@pytest.mark.slow
def test_no_thread_outlives_it(first: Any) -> None:
    """One that does may abort the process when the interpreter ends."""
    for found in first:
        if found["threads"] is not None:
            assert found["threads"] >= 1
            assert found["threads afterwards"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(case: str, first: Any) -> None:
    """Also where something is not finite in one of them only. Weights, averages, optimisers,
    scales, counts, figures and what is said."""
    assert agree(first[0][case], first[1][case])
    assert agree(first[0][case], train(case), 1e-10)
    start = trainer(Game()).nets["D"].state_dict()
    assert not agree(first[0][case]["state"]["nets"]["D"], start, 1e-3)


@pytest.mark.slow
def test_what_was_not_finite_in_one(first: Any) -> None:
    assert {case: first[0][case]["said"] for case in CASES if first[0][case]["said"]} == {
        "loss": ["step 2: loss judge is not finite in update 'd'; batch skipped"],
        "gradient": ["step 2: gradient of root is not finite in update 'd'; batch skipped"],
        "joint gradient": ["step 2: gradient of root is not finite in update 'd'; batch skipped"],
        "16 bit": ["step 2: loss judge is not finite in update 'd'; done again in fp32"],
    }
    halved = first[1]["16 bit"]["state"]["scales"]
    assert halved == {"g": (2.0**14, 4), "d": (2.0**13, 2)}


@pytest.mark.slow
def test_all_begin_with_the_weights_of_rank_0(first: Any) -> None:
    assert torch.equal(first[0]["first weights"], weights(trainer(Game(), seed=0)))
    assert torch.equal(first[1]["first weights"], first[0]["first weights"])


@pytest.mark.slow
def test_exchanges(first: Any) -> None:
    x = torch.arange(24.0).view(1, 2, 3, 4)
    means = [2.5 * x, torch.tensor(2.5, dtype=torch.float64), 2.5 * x[0, 0], 2.5 * x.mT]
    gathered = [{"name": f"rank {rank}", "x": torch.tensor([rank, rank])} for rank in (0, 1)]
    for found in first:
        assert agree(found["means"], [*means, torch.tensor(torch.inf)])
        assert found["any"] == [True, True, False, True]
        assert agree(found["gathered"], gathered)


@pytest.mark.slow
def test_all_stop_where_one_is_told_to(first: Any, out: Path) -> None:
    assert [found["done"] for found in first] == [False, False]
    assert torch.load(out / "state.pt", weights_only=True)["counts"]["step"] == 2


@pytest.mark.slow
def test_resumed_it_is_the_same_run(first: Any, out: Path) -> None:
    """In new processes, with a history that is another one in each."""
    for found, resumed in zip(first, launch("second", out), strict=True):
        assert agree(resumed["history"], found["history"])
        assert agree(resumed["history logs"], found["history logs"][2:])
    mine, other = first[0]["history"]["method"]
    assert not agree(mine, other, 1e-3)
    assert mine["past"].shape == (BATCH // 2, 2)


@pytest.mark.slow
def test_another_number_of_processes_is_refused(first: Any, out: Path) -> None:
    training = trainer(Game(history=True))
    before = training.state_dict()
    with pytest.raises(ValueError, match=r"a run of 2 processes, not 1: start 2$"):
        training.load_state_dict(torch.load(out / "state.pt", weights_only=True))
    assert agree(training.state_dict(), before)


# ---- alone -------------------------------------------------------------------------------------


def test_alone_nothing_is_exchanged() -> None:
    x = torch.tensor([1.0, torch.nan])
    distributed.mean_([x])
    distributed.share_([x])
    assert x[0] == 1
    assert x[1].isnan()
    assert [distributed.any_rank(flag) for flag in (False, True)] == [False, True]
    value = object()
    assert distributed.gather(value)[0] is value
    assert distributed.own([value]) is value
    assert (distributed.rank(), distributed.world()) == (0, 1)


@pytest.mark.parametrize("size", [None, "1"])
def test_one_process_starts_nothing(size: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size:
        monkeypatch.setenv("WORLD_SIZE", size)
    with distributed.start(torch.device("meta")) as device:
        assert device == torch.device("meta")
        assert not torch.distributed.is_initialized()


def test_a_device_without_exchange_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ValueError, match="on cpu or cuda, not meta"),
        distributed.start(torch.device("meta")),
    ):
        pass


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
