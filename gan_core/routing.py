"""Gradient routing as data: which loss term trains which network.

A method (a GAN system) never calls ``backward``, ``step`` or ``zero_grad``. It names networks,
makes a *scene* (the generators' outputs on one batch) and, for each *update*, a dictionary of loss
terms. The trainer alone moves weights, and only those that the update says it trains.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

Batch = Mapping[str, Tensor]
Networks = Mapping[str, nn.Module]
Scene = Mapping[str, Tensor]
Losses = dict[str, Tensor]
Project = Callable[[list[Tensor]], None]  # moves parameters in place
Route = Literal["trains", "passes through", "not touched"]


@dataclass(frozen=True)
class Update:
    """One optimiser step: ``trains`` are the only networks whose ``.grad`` it may write.

    project: moves their parameters, in place, back to where a constraint wants them, after the step
        (see ``gan_core.constraints``).
    """

    name: str
    trains: tuple[str, ...]
    project: Project | None = None


@dataclass(frozen=True)
class Step:
    """What happens with one batch: updates in order over one shared scene.

    A step of a run may consist of several such: critic steps, then one of critic and generator.

    joint: all backward passes come before the first optimiser step (O-GAN). The scene's graph is
        then kept for all but the last update.
    repeats: how many batches are treated so before the step is over (critic iterations).
    """

    updates: tuple[Update, ...]
    joint: bool = False
    repeats: int = 1


@dataclass(frozen=True)
class Progress:
    """Where training stands: steps done of steps planned, and training images seen."""

    step: int
    steps: int
    images: int


@dataclass(frozen=True)
class Setting:
    """What a curriculum asks of optimisers at some number of images seen.

    rate: share of their learning rates. era: where it changes, they forget all that they gathered.
    """

    rate: float = 1.0
    era: int = 0


class Method(Protocol):
    """A GAN system: what it computes, not how it is optimised."""

    @property
    def updates(self) -> Sequence[Update]:
        """Every update that a schedule may ask for; each has an optimiser of its own."""

    @property
    def averaged(self) -> Sequence[str]:
        """Names of the networks of which a moving average is kept: the generators."""

    def schedule(self, progress: Progress) -> Sequence[Step]:
        """What the run's next step consists of, in order."""

    def scene(self, nets: Networks, batch: Batch) -> Scene:
        """What the generators make of a batch, with what the losses need of the batch itself.

        It holds no scores: a discriminator has moved by the time a later update asks for them.
        """

    def losses(self, update: Update, nets: Networks, scene: Scene) -> Losses:
        """Scalar terms by name; the update minimises their sum.

        A term without gradient is a figure: it is logged and observed, and trains nothing.
        """

    def observe(self, logs: Mapping[str, float]) -> None:
        """Told the terms of each finished step, means over all processes."""

    def state_dict(self) -> dict[str, Any]:
        """Everything of the method that changes while it trains.

        Tensors in it may be shared with the method but are never written in place, so that the
        trainer can go back to it at no cost.
        """

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""


@contextmanager
def frozen(*nets: nn.Module) -> Iterator[None]:
    """Inside, gradient passes through ``nets`` without training them.

    A graph recorded inside stays so after the context is left.
    """
    held = [p for net in nets for p in net.parameters() if p.requires_grad]
    for p in held:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in held:
            p.requires_grad_(True)


def trainable(update: Update, nets: Networks) -> list[nn.Parameter]:
    """Parameters that the update may write gradients to."""
    return [p for name in update.trains for p in nets[name].parameters() if p.requires_grad]


@contextmanager
def only_trains(updates: Sequence[Update], nets: Networks) -> Iterator[None]:
    """Inside, networks that none of ``updates`` trains are frozen, so no graph is kept for them."""
    trained = {name for update in updates for name in update.trains}
    with frozen(*(net for name, net in nets.items() if name not in trained)):
        yield


class _Calls:
    """Inputs and outputs of every call of one network, each a handle that gradient can reach."""

    def __init__(self, net: nn.Module) -> None:
        self.pairs: list[tuple[list[Tensor], list[Tensor]]] = []
        self._inputs: list[list[Tensor]] = []
        self.hooks = [
            net.register_forward_pre_hook(self._before, with_kwargs=True),
            net.register_forward_hook(self._after),
        ]

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # nodes of their own: one image may be shown twice
        args = tuple(x.view_as(x) if isinstance(x, Tensor) else x for x in args)
        kwargs = {k: x.view_as(x) if isinstance(x, Tensor) else x for k, x in kwargs.items()}
        self._inputs.append(_with_grad([*args, *kwargs.values()]))
        return args, kwargs

    def _after(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        outputs = output if isinstance(output, tuple | list) else [output]
        self.pairs.append((self._inputs.pop(), _with_grad(outputs)))

    def carries(self, term: Tensor) -> bool:
        """Whether the term's gradient arrives at some output and leaves at that call's input."""
        return any(
            _reaches(term, outputs) and _reaches(term, sources) for sources, outputs in self.pairs
        )


def _with_grad(values: Iterable[Any]) -> list[Tensor]:
    return [x for x in values if isinstance(x, Tensor) and x.requires_grad]


def _reaches(term: Tensor, targets: Sequence[Tensor]) -> bool:
    """Reachability in the graph, not size: a zero-initialised gate has zero gradient rightly."""
    if not (targets and term.requires_grad):
        return False
    grads = torch.autograd.grad(term, targets, retain_graph=True, allow_unused=True)
    return any(g is not None for g in grads)


def route_matrix(
    method: Method, nets: Networks, batch: Batch
) -> dict[str, dict[str, dict[str, Route]]]:
    """Measure by autograd what each loss term does to each network.

    Returns ``{update: {term: {network: route}}}``. "trains": the term's gradient reaches the
    network's parameters and the update writes it. "passes through": gradient arrives at the
    network's output and leaves at its input, but the network is not trained by the update.
    The networks' buffers and the method's state are moved as by a training step. Each update is
    measured under the freezing that the trainer uses when the update is a step of its own.
    """
    matrix: dict[str, dict[str, dict[str, Route]]] = {}
    for update in method.updates:
        calls = {name: _Calls(net) for name, net in nets.items()}
        try:
            with only_trains([update], nets):
                losses = method.losses(update, nets, method.scene(nets, batch))
                matrix[update.name] = {
                    term: {
                        name: _route(loss, name, net, calls[name], update)
                        for name, net in nets.items()
                    }
                    for term, loss in losses.items()
                    if loss.requires_grad  # others are figures
                }
        finally:
            for call in calls.values():
                for hook in call.hooks:
                    hook.remove()
    return matrix


def _route(loss: Tensor, name: str, net: nn.Module, calls: _Calls, update: Update) -> Route:
    if name in update.trains and _reaches(loss, [p for p in net.parameters() if p.requires_grad]):
        return "trains"
    return "passes through" if calls.carries(loss) else "not touched"
