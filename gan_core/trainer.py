"""The one training loop. It names no method, no loss and no network.

A step fetches a batch, freezes what the step does not train, asks the method for its scene and its
losses, and walks backward into the networks that each update owns. Everything random inside a step
is seeded from (seed, batches seen), and the data come by position, so that a run that was stopped
and resumed is, on a CPU, bit for bit the run that was not.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_core import distributed, sampling
from gan_core.ema import Average
from gan_core.precision import LossScale, autocast, memory_format
from gan_core.routing import (
    Batch,
    Method,
    Progress,
    Scene,
    Setting,
    Step,
    Update,
    only_trains,
    trainable,
)

Logs = dict[str, float]


class TrainingError(RuntimeError):
    """Training cannot go on; the message says what happened at which step and what to try."""


class _NotFiniteError(Exception):
    """A loss or a gradient of an update is infinite or not a number."""

    def __init__(self, update: Update, what: str) -> None:
        super().__init__(f"{what} in update {update.name!r}")
        self.update = update


class Trainer:
    """Trains the networks of a method.

    method      what is computed (see ``gan_core.routing.Method``)
    nets        networks by name, on one device, in training mode
    optimizers  one per update, by the update's name; their learning rates are the base rates
    steps       length of the run, what ``schedule`` and ``rate`` see as the whole
    rate        share of the base learning rate at (step, steps)
    say         told, in a sentence, of every step that was done again or skipped
    setting     of the optimisers after so many images, where a curriculum has a word in it
    precision   "fp32", "bf16" or "fp16": see ``gan_core.precision``
    ema_half_life  images in which the moving average forgets half; 0 keeps the weights themselves
    accumulate  batches whose mean gradient makes one update; the scene is then made anew for each
                update, so that one batch at a time is held in memory
    seed        of everything random inside a step
    max_skips   batches in a row that may be skipped before training stops

    A step whose loss or gradient is not finite is done again in fp32 from the update that failed;
    updates of the same step that were applied stand, the method's state and the networks' buffers
    go back to where the step began. If it is still not finite the batch is skipped.

    Several processes (``gan_core.distributed``) begin with rank 0's weights; each treats an equal
    part of every batch. Gradients and losses become means over all before anything is decided, so
    that weights stay equal bit for bit. Where losses are means over samples, a step is that of one
    process with the whole batch. What compares samples (batch norm) sees its part only; of running
    statistics rank 0's are saved. The method's schedule and terms must be the same in all.
    """

    def __init__(
        self,
        method: Method,
        nets: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        steps: int,
        rate: Callable[[int, int], float],
        say: Callable[[str], None] = lambda sentence: None,
        setting: Callable[[int], Setting] = lambda images: Setting(),
        *,
        precision: str = "fp32",
        ema_half_life: float = 0.0,
        accumulate: int = 1,
        seed: int = 0,
        max_skips: int = 20,
    ) -> None:
        if accumulate < 1:
            raise ValueError(f"accumulate must be 1 or more, not {accumulate}")
        self.method, self.nets, self.optimizers = method, nets, optimizers
        self.steps, self.rate, self.precision, self.say = steps, rate, precision, say
        self.setting = setting
        self.accumulate, self.seed, self.max_skips = accumulate, seed, max_skips
        self.device = next(p.device for net in nets.values() for p in net.parameters())
        for net in nets.values() if self.device.type == "cuda" else ():
            net.to(memory_format=memory_format(precision))  # type: ignore[call-overload]
        distributed.share_([t for net in nets.values() for t in net.state_dict().values()])
        self.average = Average({name: nets[name] for name in method.averaged}, ema_half_life)
        self.scales = {update.name: LossScale() for update in method.updates}
        self.counts = {"step": 0, "batches": 0, "images": 0, "redone": 0, "skipped": 0, "in_row": 0}
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]

    @property
    def progress(self) -> Progress:
        return Progress(self.counts["step"], self.steps, self.counts["images"])

    def step(self, batches: Iterator[Batch]) -> Logs:
        """Do the method's next step on the next batches; return every loss term and rate."""
        logs: Logs = {}
        seen = self.counts["images"]
        setting = self.setting(seen)
        factor = self.rate(self.counts["step"], self.steps) * setting.rate
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            logs[f"lr {name}"] = optimizer.param_groups[0]["lr"]
        for plan in self.method.schedule(self.progress):
            for _ in range(plan.repeats):
                micro = [self._laid_out(next(batches)) for _ in range(self.accumulate)]
                logs |= self._treat(plan, micro)
        self.counts["step"] += 1
        self.average.update(self.nets, self.counts["images"] - seen, self.counts["images"])
        self.method.observe(logs)
        if self.setting(self.counts["images"]).era != setting.era:
            for optimizer in self.optimizers.values():
                optimizer.state.clear()
        return logs

    def _laid_out(self, batch: Batch) -> Batch:
        layout = memory_format(self.precision)
        return {
            key: x.contiguous(memory_format=layout) if x.ndim == 4 else x
            for key, x in batch.items()
        }

    def _treat(self, plan: Step, micro: Sequence[Batch]) -> Logs:
        """One pass over the step's updates, with a second try in fp32, or else a skip."""
        state, buffers = self.method.state_dict(), [b.clone() for b in self._buffers()]
        logs: Logs = {}
        pending, trouble = list(plan.updates), None
        for precision in dict.fromkeys((self.precision, "fp32")):
            try:
                for update, terms in self._apply(plan, pending, micro, precision):
                    logs |= terms
                    pending.remove(update)
                break
            except _NotFiniteError as error:
                trouble = error
                if precision == "fp16":
                    self.scales[error.update.name].bad_step()
                self.method.load_state_dict(state)
                for buffer, saved in zip(self._buffers(), buffers, strict=True):
                    buffer.copy_(saved)
        self.counts["batches"] += len(micro)
        here = sum(len(next(iter(batch.values()))) for batch in micro)
        self.counts["images"] += here * distributed.world()
        self._account(trouble, skipped=bool(pending))
        return logs

    def _account(self, trouble: _NotFiniteError | None, skipped: bool) -> None:
        if trouble is None:
            self.counts["in_row"] = 0
            return
        step = self.counts["step"] + 1
        if not skipped:
            self.counts["redone"] += 1
            self.counts["in_row"] = 0
            self.say(f"step {step}: {trouble}; done again in fp32")
            return
        self.counts["skipped"] += 1
        self.counts["in_row"] += 1
        self.say(f"step {step}: {trouble}; batch skipped")
        if self.counts["in_row"] >= self.max_skips:
            raise TrainingError(
                f"step {step}: {trouble}; {self.counts['in_row']} batches in a row were skipped. "
                "The weights are those of the last good step: lower optimizer.lr and resume from "
                "an earlier checkpoint, or look at the pictures with `translate data check`"
            )

    def _apply(
        self, plan: Step, updates: Sequence[Update], micro: Sequence[Batch], precision: str
    ) -> Iterator[tuple[Update, Logs]]:
        """Run updates in order; yields each with its losses once its optimiser has stepped."""
        sampling.seed(_seed(self.seed, self.counts["batches"]))
        deferred: list[tuple[Update, Logs]] = []
        means: dict[Update, dict[str, Tensor]] = {}
        groups = [list(updates)] if len(micro) == 1 else [[update] for update in updates]
        for group in groups:  # updates of a group share a scene
            with only_trains(group, self.nets):
                for update in group:
                    for p in trainable(update, self.nets):
                        p.grad = None
                for position, batch in enumerate(micro):
                    with autocast(precision, self.device):
                        scene = self.method.scene(self.nets, batch)
                    for update in group:
                        keep = plan.joint and update is not group[-1]
                        terms = self._backward(update, scene, precision, keep)
                        so_far = means.get(update)
                        if so_far is not None:
                            terms = {name: so_far[name] + term for name, term in terms.items()}
                        means[update] = terms
                        if position < len(micro) - 1:
                            continue
                        logs = self._check(update, terms, micro, precision)
                        if plan.joint:
                            deferred.append((update, logs))
                        else:
                            self._move(update, precision)
                            yield update, logs
        for update, logs in deferred:
            self._move(update, precision)
            yield update, logs

    def _backward(
        self, update: Update, scene: Scene, precision: str, keep: bool
    ) -> dict[str, Tensor]:
        with autocast(precision, self.device):
            terms = self.method.losses(update, self.nets, scene)
        scale = self.scales[update.name].value if precision == "fp16" else 1.0
        total = torch.stack(list(terms.values())).sum() * (scale / self.accumulate)
        total.backward(inputs=trainable(update, self.nets), retain_graph=keep)
        return {name: term.detach() / self.accumulate for name, term in terms.items()}

    def _check(
        self, update: Update, terms: Mapping[str, Tensor], micro: Sequence[Batch], precision: str
    ) -> Logs:
        """Means over processes without the loss scale, on the host; refused if not finite."""
        grads = [p.grad for p in trainable(update, self.nets) if p.grad is not None]
        distributed.mean_([*grads, *terms.values()])
        if precision == "fp16":
            torch._foreach_mul_(grads, 1.0 / self.scales[update.name].value)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        values = torch.stack([*terms.values(), norm]).tolist()  # the step's one synchronisation
        logs = dict(zip([*terms, f"gradient {update.name}"], values, strict=True))
        bad = [name for name in terms if not math.isfinite(logs[name])]
        if bad:
            raise _NotFiniteError(update, f"loss {', '.join(bad)} is not finite")
        if not math.isfinite(values[-1]):
            blamed = ", ".join(self._blame(update, micro, precision)) or "the sum of losses"
            raise _NotFiniteError(update, f"gradient of {blamed} is not finite")
        return logs

    def _blame(self, update: Update, micro: Sequence[Batch], precision: str) -> list[str]:
        """Which terms' own gradients are not finite in any process: each alone, once more."""
        scale = self.scales[update.name].value if precision == "fp16" else 1.0
        owned = trainable(update, self.nets)
        blamed: dict[str, None] = {}
        for batch in micro:
            with autocast(precision, self.device):
                scene = self.method.scene(self.nets, batch)
                terms = self.method.losses(update, self.nets, scene)
            for name, term in terms.items():
                if not term.requires_grad:
                    continue
                grads = torch.autograd.grad(
                    term * scale, owned, retain_graph=True, allow_unused=True
                )
                if any(g is not None and not bool(g.isfinite().all()) for g in grads):
                    blamed[name] = None
        return list(dict.fromkeys(n for names in distributed.gather(list(blamed)) for n in names))

    def _move(self, update: Update, precision: str) -> None:
        self.optimizers[update.name].step()
        if update.project is not None:
            with torch.no_grad():
                update.project(list(trainable(update, self.nets)))
        self.optimizers[update.name].zero_grad(set_to_none=True)
        if precision == "fp16":
            self.scales[update.name].good_step()

    def _buffers(self) -> list[Tensor]:
        return [b for net in self.nets.values() for b in net.buffers()]

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training, in plain values and tensors; all must call it."""
        return {
            "counts": dict(self.counts),
            "nets": {name: net.state_dict() for name, net in self.nets.items()},
            "average": {name: net.state_dict() for name, net in self.average.nets.items()},
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "method": distributed.gather(self.method.state_dict()),
            "scales": {name: (s.value, s.good) for name, s in self.scales.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict()`` of as many processes, also with more or fewer steps to do."""
        self.method.load_state_dict(distributed.own(state["method"]))
        self.counts = dict(state["counts"])
        for name, net in self.nets.items():
            net.load_state_dict(state["nets"][name])
        for name, net in self.average.nets.items():
            net.load_state_dict(state["average"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.scales = {name: LossScale(*pair) for name, pair in state["scales"].items()}


def run(
    trainer: Trainer,
    batches: Iterator[Batch],
    *,
    every: Mapping[Callable[[Logs], None], int],
    stop: Callable[[], bool],
) -> bool:
    """Step until the run is done or ``stop()`` says so; return whether it is done.

    ``every`` maps what is to be called (logging, sampling, saving) to its interval in steps; each
    is called after the last step of a full run as well. All processes stop where one is told to.
    """
    while trainer.counts["step"] < trainer.steps:
        logs = trainer.step(batches)
        done = trainer.counts["step"]
        for call, interval in every.items():
            if done % interval == 0 or done == trainer.steps:
                call(logs)
        if distributed.any_rank(stop()):
            break
    return trainer.counts["step"] >= trainer.steps


def _seed(*numbers: int) -> int:
    """One 63-bit seed of several numbers, the same on every platform."""
    return random.Random("/".join(map(str, numbers))).getrandbits(63)
