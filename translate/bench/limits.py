"""What the machine can do at the most, measured, and how much a step asks of it.

On a CPU the limit is the rate of one convolution, of 256 channels and 3x3 as in the middle of
CycleGAN's generator, forward, in the number format used and in the faster of two memory layouts.
On a CUDA device it is the rate of a product of large matrices of random numbers in that format
(float32: as PyTorch's convolutions come, in TF32). A step's operations are those that its
mathematics needs, counted without running it: 2 for a multiplication and addition, of convolutions
and matrix products alone.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan_core.precision import FORMATS
from gan_core.routing import Batch, Method, Networks, Progress, only_trains, trainable
from translate.bench.lane import Work, timed
from translate.bench.rounds import warm_up
from translate.bench.training import LONG, PAPERS, Training, plain_loop, samples, taken
from translate.device import find_device

CHANNELS = 256
MATRIX = 8192


class _Counter(TorchDispatchMode):
    """Torch's own FlopCounterMode also follows modules, which fails where a penalty is taken."""

    total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **kwargs or {})
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **kwargs or {}, out_val=out)
        return out


def operations(run: Callable[[], object]) -> int:
    """Of the convolutions and matrix products that ``run`` does, by torch's formulas."""
    with _Counter() as counter:
        run()
    return counter.total


def training_operations(training: Training) -> float:
    """That a training step needs for each of its pictures, or pairs.

    On torch's meta device, by the plain way; of systems that draw from noise by their method, each
    batch's scene made once, which is less than the plain way does.
    """
    recipe = training.recipe()
    method = recipe.make_method()
    channels = recipe.layout.channels_of(recipe.values["data"])
    with torch.device("meta"):
        batch = recipe.layout.blank(recipe.values["data"])
        if type(method) in PAPERS:
            loop = plain_loop(recipe, method, channels, torch.device("meta"))
            return operations(lambda: loop.step(iter([batch]))) / samples(batch)
        nets, _ = recipe.make_networks(method, channels)
        every = getattr(method, "penalty_every", 1)  # some steps have a penalty, others have not
        steps = [Progress(LONG // 2 + 1 + n, LONG, 0) for n in range(every)]
        needed = sum(operations(partial(_share_scenes, method, nets, batch, at)) for at in steps)
    return needed / samples(batch) / sum(taken(method, at) for at in steps)


def _share_scenes(method: Method, nets: Networks, batch: Batch, progress: Progress) -> None:
    for plan in method.schedule(progress):
        for _ in range(plan.repeats):
            with only_trains(plan.updates, nets):
                scene = method.scene(nets, batch)
                for update in plan.updates:
                    total = torch.stack(list(method.losses(update, nets, scene).values())).sum()
                    owned = trainable(update, nets)
                    torch.autograd.grad(total, owned, retain_graph=True, allow_unused=True)


def limit(device: str, precision: str, size: int, batch: int) -> Work:
    """The fastest that the device multiplies and adds; facts: "operations" of a step, "what"."""
    place = find_device(device)
    dtype = FORMATS[precision] or torch.float32
    if place.type == "cuda":
        return _matrices(place, dtype)
    return _convolution(place, dtype, size, batch)


def _matrices(device: torch.device, dtype: torch.dtype) -> Work:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    a, b = (torch.randn(MATRIX, MATRIX, device=device, dtype=dtype) for _ in range(2))
    what = f"product of {MATRIX} x {MATRIX} matrices, {_name(dtype)}"
    facts = {"operations": 2 * MATRIX**3, "what": what}
    return Work(timed(lambda: a @ b, device), device=device, facts=facts)


def _convolution(device: torch.device, dtype: torch.dtype, size: int, batch: int) -> Work:
    side = max(size // 4, 8)
    turns: dict[str, Callable[[int], float]] = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        x, weight = (
            torch.randn(shape, device=device, dtype=dtype).to(memory_format=layout)
            for shape in ((batch, CHANNELS, side, side), (CHANNELS, CHANNELS, 3, 3))
        )
        turns[str(layout)] = timed(partial(conv2d, x, weight, padding=1), device)
    fastest = min(turns, key=lambda layout: warm_up(turns[layout], 10, 0.2))
    shape = f"[{batch}, {CHANNELS}, {side}, {side}]"
    what = f"convolution 3x3 of {shape} to {CHANNELS}, {_name(dtype)}, {fastest}"
    facts = {"operations": 2 * 9 * CHANNELS**2 * batch * side**2, "what": what}
    return Work(turns[fastest], device=device, facts=facts)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
