"""The gradients of an operation that is itself a gradient, as a gradient penalty asks for them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def differentiate_by(formula: Callable[..., Any], op: Any) -> None:
    """Let the gradients of ``op`` be those of ``formula``: plain torch, same arguments and results.

    op: a custom operator of torch.library that has no gradients yet, such as a kernel. To any
        order: torch differentiates the formula, and what it did to do so.
    """

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*(x if isinstance(x, Tensor) else None for x in inputs))
        ctx.settings = [None if isinstance(x, Tensor) else x for x in inputs]

    def differentiate(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs = [
            s if x is None else x for x, s in zip(ctx.saved_tensors, ctx.settings, strict=True)
        ]
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad) if needed]

        def of_wanted(*values: Tensor) -> Any:
            changed = dict(zip(wanted, values, strict=True))
            return formula(*(changed.get(i, x) for i, x in enumerate(inputs)))

        pull = torch.func.vjp(of_wanted, *(inputs[i] for i in wanted))[1]
        found = dict(zip(wanted, pull(grads if len(grads) > 1 else grads[0]), strict=True))
        return tuple(found.get(i) for i in range(len(inputs)))

    op.register_autograd(differentiate, setup_context=keep)
