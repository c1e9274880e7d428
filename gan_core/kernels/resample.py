"""Sides of pictures and maps doubled and halved, and a fade between two resolutions.

Doubling and 4 times halving are each other's adjoint, with and without filter, and the fade's is a
halving beside a copy: the gradients of these kernels, of whatever order, are these kernels.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.kernels._triton import jit, tl
from gan_core.kernels.dispatch import Impl, chosen
from gan_core.kernels.layout import blocks, memory_format, power_of_2
from gan_core.precision import upcast


def upsample(x: Tensor, *, filtered: bool = False, impl: Impl = "auto") -> Tensor:
    """Every number as a square of itself.

    x: [B, C, H, W] -> [B, C, 2 H, 2 W], of the same dtype (under autocast too) and memory format.
        Contiguous and channels_last maps are taken as they are.
    filtered: then blurred by [1, 2, 1] / 4 along rows and columns, as StyleGAN does (Karras et al.
        2019), which is bilinear: (x_{i-1} + 3 x_i) / 4, (3 x_i + x_{i+1}) / 4. Deviation: beyond
        the border lies the border's own number, not the authors' zero, which darkens it.
    Differentiable to any order by kernels: the gradient is 4 downsample.
    """
    if chosen("upsample", impl, x):
        return _up(x, filtered, 1.0)
    return upsample_reference(x, filtered)


def downsample(x: Tensor, *, filtered: bool = False, impl: Impl = "auto") -> Tensor:
    """The mean of every square of 2 x 2.

    x: [B, C, 2 H, 2 W] -> [B, C, H, W], of the same dtype (under autocast too) and memory format.
        Contiguous and channels_last maps are taken as they are. ValueError at odd sides.
    filtered: blurred before, as ``upsample`` blurs afterwards, border included:
        (x_{2i-1} + 3 x_{2i} + 3 x_{2i+1} + x_{2i+2}) / 8 along rows and columns.
    Differentiable to any order by kernels: the gradient is upsample / 4.
    """
    if x.shape[2] % 2 or x.shape[3] % 2:
        raise ValueError(f"sides must be even to be halved, not {x.shape[2]}x{x.shape[3]}")
    if chosen("downsample", impl, x):
        return _down(x, filtered, 0.25)
    return downsample_reference(x, filtered)


def fade_up(old: Tensor, new: Tensor, alpha: Tensor, *, impl: Impl = "auto") -> Tensor:
    """(1 - alpha) upsample(old) + alpha new, exactly the one at 0 and the other at 1.

    Karras et al. 2018, figure 2.

    old: [B, C, H, W]; new: [B, C, 2 H, 2 W] -> like new, in float32 at least (under autocast too).
        Maps of which both are contiguous or both channels_last are taken as they are.
    alpha: [B] or [1], in [0, 1]. A constant: no gradient flows to it.
    Differentiable to any order by kernels.
    """
    alpha = alpha.detach().to(new.device, torch.promote_types(new.dtype, torch.float32))
    alpha = alpha.expand(len(new))
    if chosen("fade_up", impl, old, new):
        return _fade(old, new, alpha)
    return fade_up_reference(old, new, alpha)


def upsample_reference(x: Tensor, filtered: bool) -> Tensor:
    doubled = F.interpolate(x, scale_factor=2, mode="nearest")
    return _blur(doubled) if filtered else doubled


def downsample_reference(x: Tensor, filtered: bool) -> Tensor:
    return F.avg_pool2d(_blur(x) if filtered else x, 2)


def fade_up_reference(old: Tensor, new: Tensor, alpha: Tensor) -> Tensor:
    doubled = upcast(upsample_reference(old, filtered=False))
    return torch.lerp(doubled, upcast(new), alpha[:, None, None, None])


def _blur(x: Tensor) -> Tensor:
    """[1, 2, 1] / 4 along rows and columns: twice the means of neighbours."""
    wide = F.pad(upcast(x), (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(wide, 2, 1), 2, 1).to(x.dtype)


# A kernel sees lines of W places (of 2 W, the larger maps) of K numbers: K = 1, and lines for each
# channel, where maps are contiguous; K = C where they are channels_last (LAST). A program takes
# ROWS x COLUMNS numbers of its result: columns lie side by side in memory; rows, fewer than 2^31,
# are lines, or places if maps are channels_last.


@jit
def _up_kernel(
    x, y, new, alpha, scale, rows, columns, H, W, K, planes,
    FILTERED: tl.constexpr, LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """y = scale times x doubled; where there is ``new``, faded to it."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < columns)
    at = row.to(tl.int64) * columns + column
    if LAST:
        line, w, k = row // (2 * W), row % (2 * W), column
    else:
        line, w, k = row, column, 0
    near = (line // 2).to(tl.int64) * W
    value = tl.load(x + (near + w // 2) * K + k, inside, 0).to(tl.float32)
    if FILTERED:
        first = line // (2 * H) * H
        far = tl.minimum(tl.maximum(line // 2 + line % 2 * 2 - 1, first), first + H - 1)
        far = far.to(tl.int64) * W
        aside = tl.minimum(tl.maximum(w // 2 + w % 2 * 2 - 1, 0), W - 1)
        value = 9 * value + 3 * tl.load(x + (near + aside) * K + k, inside, 0).to(tl.float32)
        value += 3 * tl.load(x + (far + w // 2) * K + k, inside, 0).to(tl.float32)
        value += tl.load(x + (far + aside) * K + k, inside, 0).to(tl.float32)
        value /= 16
    if new is not None:
        share = tl.load(alpha + line // (2 * H * planes), row < rows, 0)
        late = tl.load(new + at, inside, 0).to(tl.float32)
        rise = late - value
        # from the nearer end, so that either end is exact
        value = tl.where(share < 0.5, value + share * rise, late - (1 - share) * rise)
    tl.store(y + at, value * scale, inside)


@jit
def _down_kernel(
    x, y, late, alpha, scale, rows, columns, H, W, K, planes,
    FILTERED: tl.constexpr, LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """y = scale times what doubling is adjoint to, without filter the sum of each square.

    Where there is ``late``: y = that of (1 - alpha) x, and late = alpha x.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < columns)
    if LAST:
        line, w, k = row // W, row % W, column
    else:
        line, w, k = row, column, 0
    first = line // H * 2 * H
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for i in tl.static_range(-1 if FILTERED else 0, 3 if FILTERED else 2):
        for j in tl.static_range(-1 if FILTERED else 0, 3 if FILTERED else 2):
            from_h = tl.minimum(tl.maximum(2 * line + i, first), first + 2 * H - 1)
            from_w = tl.minimum(tl.maximum(2 * w + j, 0), 2 * W - 1)
            at = (from_h.to(tl.int64) * 2 * W + from_w) * K + k
            value = tl.load(x + at, inside, 0).to(tl.float32)
            if late is not None:
                share = tl.load(alpha + line // (H * planes), row < rows, 0)
                tl.store(late + at, share * value, inside)
                value *= 1 - share
            if FILTERED:
                value *= (0.75 if i * (i - 1) == 0 else 0.25) * (0.75 if j * (j - 1) == 0 else 0.25)
            total += value
    tl.store(y + row.to(tl.int64) * columns + column, total * scale, inside)


def _launch(
    kernel: Any,
    x: Tensor,
    y: Tensor,
    layout: torch.memory_format,
    other: Tensor | None = None,
    alpha: Tensor | None = None,
    *,
    filtered: bool = False,
    scale: float = 1.0,
) -> None:
    B, C, height, width = y.shape
    H, W = min(x.shape[2], height), min(x.shape[3], width)
    last = layout is torch.channels_last
    rows, columns = (B * height * width, C) if last else (B * C * height, width)
    K, planes = (C, 1) if last else (1, C)
    COLUMNS = min(power_of_2(columns), 256)
    ROWS = min(power_of_2(rows), 2048 // COLUMNS, 64)  # pictures' 3 channels would spill registers
    with torch.cuda.device_of(x):
        kernel[(blocks(rows, ROWS), blocks(columns, COLUMNS))](
            *(x, y, other, alpha, scale, rows, columns, H, W, K, planes),
            FILTERED=filtered,
            LAST=last,
            ROWS=ROWS,
            COLUMNS=COLUMNS,
        )


def _doubled(x: Tensor) -> Tensor:
    """Not yet filled."""
    B, C, H, W = x.shape
    return torch.empty(
        (B, C, 2 * H, 2 * W), dtype=x.dtype, device=x.device, memory_format=memory_format(x)
    )


def _halved(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Not yet filled."""
    B, C, H, W = x.shape
    return torch.empty(
        (B, C, H // 2, W // 2), dtype=dtype, device=x.device, memory_format=memory_format(x)
    )


@torch.library.custom_op("gan_core::upsample", mutates_args=())
def _up(x: Tensor, filtered: bool, scale: float) -> Tensor:
    layout, y = memory_format(x), _doubled(x)
    x = x.contiguous(memory_format=layout)
    _launch(_up_kernel, x, y, layout, filtered=filtered, scale=scale)
    return y


@torch.library.custom_op("gan_core::downsample", mutates_args=())
def _down(x: Tensor, filtered: bool, scale: float) -> Tensor:
    layout, y = memory_format(x), _halved(x, x.dtype)
    x = x.contiguous(memory_format=layout)
    _launch(_down_kernel, x, y, layout, filtered=filtered, scale=scale)
    return y


@torch.library.custom_op("gan_core::fade_up", mutates_args=())
def _fade(old: Tensor, new: Tensor, alpha: Tensor) -> Tensor:
    layout = memory_format(new)
    old, new = (t.contiguous(memory_format=layout) for t in (old, new))
    y = torch.empty_like(new, dtype=torch.float32, memory_format=layout)
    _launch(_up_kernel, old, y, layout, new, alpha.contiguous())
    return y


@torch.library.custom_op("gan_core::fade_up_gradient", mutates_args=())
def _unfade(
    grad: Tensor, alpha: Tensor, old: torch.dtype, new: torch.dtype
) -> tuple[Tensor, Tensor]:
    layout, y = memory_format(grad), _halved(grad, old)
    grad = grad.contiguous(memory_format=layout)
    late = torch.empty_like(grad, dtype=new, memory_format=layout)
    _launch(_down_kernel, grad, y, layout, late, alpha.contiguous())
    return y, late


@_up.register_fake
def _(x: Tensor, filtered: bool, scale: float) -> Tensor:
    return _doubled(x)


@_down.register_fake
def _(x: Tensor, filtered: bool, scale: float) -> Tensor:
    return _halved(x, x.dtype)


@_fade.register_fake
def _(old: Tensor, new: Tensor, alpha: Tensor) -> Tensor:
    return torch.empty_like(new, dtype=torch.float32, memory_format=memory_format(new))


@_unfade.register_fake
def _(grad: Tensor, alpha: Tensor, old: torch.dtype, new: torch.dtype) -> tuple[Tensor, Tensor]:
    late = torch.empty_like(grad, dtype=new, memory_format=memory_format(grad))
    return _halved(grad, old), late


def _keep(ctx: Any, inputs: tuple[Tensor, bool, float], output: Tensor) -> None:
    _, ctx.filtered, ctx.scale = inputs


_up.register_autograd(
    lambda ctx, grad: (_down(grad, ctx.filtered, ctx.scale), None, None), setup_context=_keep
)
_down.register_autograd(
    lambda ctx, grad: (_up(grad, ctx.filtered, ctx.scale), None, None), setup_context=_keep
)


def _keep_fade(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    old, new, alpha = inputs
    ctx.dtypes = old.dtype, new.dtype
    ctx.save_for_backward(alpha)


def _keep_unfade(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.dtype = inputs[0].dtype
    ctx.save_for_backward(inputs[1])


def _differentiate_fade(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    return *_unfade(grad, *ctx.saved_tensors, *ctx.dtypes), None


def _differentiate_unfade(ctx: Any, old: Tensor, new: Tensor) -> tuple[Tensor | None, ...]:
    return _fade(old, new, *ctx.saved_tensors).to(ctx.dtype), None, None, None


_fade.register_autograd(_differentiate_fade, setup_context=_keep_fade)
_unfade.register_autograd(_differentiate_unfade, setup_context=_keep_unfade)
