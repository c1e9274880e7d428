"""Instance normalisation with what follows it in a network: gain and bias, activation, skip."""

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.kernels._triton import jit, tl
from gan_core.kernels.dispatch import Impl, chosen
from gan_core.kernels.layout import memory_format, places
from gan_core.kernels.moments import measure, plan, write_moments
from gan_core.kernels.second_order import differentiate_by
from gan_core.precision import upcast

Activation = Literal["none", "relu", "leaky"]


def instance_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    act: Activation = "none",
    slope: float = 0.2,
    eps: float = 1e-5,
    impl: Impl = "auto",
) -> Tensor:
    """residual + act(n weight + bias), n = (x - mean) / sqrt(variance + eps).

    Ulyanov et al. 2016, equation 3: mean and (biased) variance are each sample's and channel's own,
    over its places. The activation does not see the residual.

    x: [B, C, H, W], of more than one place -> like x in shape and dtype, under autocast too; the
        kernels keep its memory format and take contiguous and channels_last maps as they are.
    weight, bias: [C]; residual: as x.
    slope: of "leaky" where n weight + bias is not above 0; "relu" has 0.
    Statistics are of float32. Differentiable to any order; the kernels are the value and the first
    gradient. The latter makes n and the activation's sign anew, of x: nothing else is kept.
    """
    slopes = {"none": 1.0, "relu": 0.0, "leaky": slope}
    if act not in slopes:
        raise ValueError(f"act {act!r}: choose {', '.join(slopes)}")
    if places(x) == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {x.size()}"
        )
    if residual is not None and residual.shape != x.shape:
        raise ValueError(f"residual {[*residual.shape]} is not of x's shape {[*x.shape]}")
    if any(p is not None and p.shape != x.shape[1:2] for p in (weight, bias)):
        raise ValueError(f"weight and bias must have a number for each of {x.shape[1]} channels")
    if chosen("instance_norm", impl, *(t for t in (x, weight, bias, residual) if t is not None)):
        return _forward(x, weight, bias, residual, slopes[act], eps)[0]
    return reference(x, weight, bias, residual, slopes[act], eps)


def reference(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    slope: float,
    eps: float,
) -> Tensor:
    """What ``instance_norm`` says, in plain torch; slope 1 is no activation, slope 0 a ReLU.

    Batch norm of one sample with B * C channels, as torch does it. There the activation can take
    place in the result, which would cost two copies in the backward after ``F.instance_norm``: what
    that returns is a view. On CPUs channels_last maps, of which torch would make contiguous ones,
    go sample by sample: joined, they have strides that torch's batch norm takes for others, and its
    gradient is wrong.
    """
    if memory_format(x) is torch.channels_last and not x.is_cuda:
        parts = [_by_batch_norm(sample, weight, bias, slope, eps) for sample in x.split(1)]
        y = parts[0] if len(parts) == 1 else torch.cat(parts)
    else:
        joined = x.contiguous().view(1, -1, *x.shape[2:])
        y = _by_batch_norm(joined, weight, bias, slope, eps).view(x.shape)
    return y if residual is None else (residual + y).to(y.dtype)


def _by_batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, slope: float, eps: float
) -> Tensor:
    """Of one sample, whose channels may be those of several."""
    if weight is None and bias is not None:
        weight = torch.ones_like(bias)  # torch fails to differentiate twice by a bias alone
    weight, bias = (None if p is None else p.repeat(x.shape[1] // len(p)) for p in (weight, bias))
    y = F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    if slope == 1:
        return y
    return F.relu_(y) if slope == 0 else F.leaky_relu_(y, slope)


def reference_gradient(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    slope: float,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """The gradient by x; [2, B, C] sums over places of d and d n. d: that by n weight + bias.

    weight (d - mean(d) - n mean(d n)) / sqrt(variance + eps). The given mean and rstd are functions
    of x, and so are made anew, to be differentiated.
    """
    wide = upcast(x)
    variance, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
    rstd = (variance + eps).rsqrt()
    n = (wide - mean) * rstd
    gain = 1 if weight is None else upcast(weight)[:, None, None]
    shift = 0 if bias is None else upcast(bias)[:, None, None]
    g = upcast(grad)
    d = torch.where(n * gain + shift > 0, g, g * slope)
    along = n * (d * n).mean((2, 3), keepdim=True)
    dx = rstd * gain * (d - d.mean((2, 3), keepdim=True) - along)
    return dx.to(x.dtype), torch.stack([d.sum((2, 3)), (d * n).sum((2, 3))])


# How the programs of a kernel share the work: gan_core.kernels.moments.


@jit
def _forward_kernel(
    x, weight, bias, residual, means, rstds, y, S, C, chunk, channel_stride, place_stride, slope,
    eps, WHOLE: tl.constexpr, CHANNELS: tl.constexpr, PLACES: tl.constexpr,
):  # fmt: skip
    """y; and, if the program has WHOLE channels, means and rstds [B, C], else known by then."""
    sample = tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1).to(tl.int64) * CHANNELS + tl.arange(0, CHANNELS)[:, None]
    present = channel < C
    first = tl.program_id(0) * chunk
    last = tl.minimum(first + chunk, S)
    start = sample * C * S + channel * channel_stride
    at = sample * C + channel
    if WHOLE:
        mean, off = measure(x + start, present, first, last, place_stride, CHANNELS, PLACES)
        rstd = tl.rsqrt(off / S + eps)
        tl.store(means + at, mean, present)
        tl.store(rstds + at, rstd, present)
    else:
        mean = tl.load(means + at, present, 0.0)
        rstd = tl.load(rstds + at, present, 0.0)
    gain = _load_or(weight, channel, present, 1.0)
    shift = _load_or(bias, channel, present, 0.0)
    for begin in range(first, last, PLACES):
        place = begin + tl.arange(0, PLACES).to(tl.int64)[None, :]
        inside = present & (place < last)
        here = start + place * place_stride
        n = (tl.load(x + here, inside, 0).to(tl.float32) - mean) * rstd
        v = n * gain + shift
        v = tl.where(v > 0, v, v * slope)
        if residual is not None:
            v += tl.load(residual + here, inside, 0).to(tl.float32)
        tl.store(y + here, v, inside)


@jit
def _load_or(parameter, channel, present, default):
    if parameter is None:
        value = default
    else:
        value = tl.load(parameter + channel, present, 0).to(tl.float32)
    return value


@jit
def _normalised(g, x, at, inside, mean, rstd, gain, shift, slope):
    """n, and d: the gradient by n weight + bias; both 0 outside."""
    n = tl.where(inside, (tl.load(x + at, inside, 0).to(tl.float32) - mean) * rstd, 0.0)
    d = tl.load(g + at, inside, 0).to(tl.float32)
    return n, tl.where(n * gain + shift > 0, d, d * slope)


@jit
def _gradient_kernel(
    g, x, means, rstds, weight, bias, sums, dx, S, C, chunk, channel_stride, place_stride, slope,
    SUM: tl.constexpr, USE: tl.constexpr, CHANNELS: tl.constexpr, PLACES: tl.constexpr,
):  # fmt: skip
    """SUM: sums [2, B, C, chunks], over each chunk, of d and d n. USE: dx, by sums [2, B, C].

    Both at once, where there is one chunk.
    """
    sample = tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1).to(tl.int64) * CHANNELS + tl.arange(0, CHANNELS)[:, None]
    present = channel < C
    first = tl.program_id(0) * chunk
    last = tl.minimum(first + chunk, S)
    start = sample * C * S + channel * channel_stride
    at = sample * C + channel
    mean = tl.load(means + at, present, 0.0)
    rstd = tl.load(rstds + at, present, 0.0)
    gain = _load_or(weight, channel, present, 1.0)
    shift = _load_or(bias, channel, present, 0.0)
    if SUM:
        d_lanes = tl.zeros((CHANNELS, PLACES), tl.float32)
        dn_lanes = tl.zeros((CHANNELS, PLACES), tl.float32)
        for begin in range(first, last, PLACES):
            place = begin + tl.arange(0, PLACES).to(tl.int64)[None, :]
            here = start + place * place_stride
            n, d = _normalised(g, x, here, present & (place < last), mean, rstd, gain, shift, slope)
            d_lanes += d
            dn_lanes += d * n
        d_sum = tl.sum(d_lanes, 1, keep_dims=True)
        dn_sum = tl.sum(dn_lanes, 1, keep_dims=True)
        to = sums + at * tl.num_programs(0) + tl.program_id(0)
        tl.store(to, d_sum, present)
        tl.store(to + tl.num_programs(2).to(tl.int64) * C * tl.num_programs(0), dn_sum, present)
    else:
        d_sum = tl.load(sums + at, present, 0.0)
        dn_sum = tl.load(sums + tl.num_programs(2).to(tl.int64) * C + at, present, 0.0)
    if USE:
        for begin in range(first, last, PLACES):
            place = begin + tl.arange(0, PLACES).to(tl.int64)[None, :]
            inside = present & (place < last)
            here = start + place * place_stride
            n, d = _normalised(g, x, here, inside, mean, rstd, gain, shift, slope)
            tl.store(dx + here, rstd * gain * (d - d_sum / S - n * (dn_sum / S)), inside)


@torch.library.custom_op("gan_core::instance_norm", mutates_args=())
def _forward(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    slope: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, and mean and 1 / sqrt(variance + eps), [B, C] in float32."""
    layout = memory_format(x)
    x = x.contiguous(memory_format=layout)
    residual = None if residual is None else residual.contiguous(memory_format=layout)
    weight, bias = (None if p is None else p.contiguous() for p in (weight, bias))
    y, mean, rstd = _forward_like(x)
    grid, sizes, block = shared = plan(x, layout)
    whole = grid[0] == 1
    with torch.cuda.device_of(x):
        if not whole:
            write_moments(x, mean, rstd, eps, shared)
        _forward_kernel[grid](
            x, weight, bias, residual, mean, rstd, y, *sizes, slope, eps, WHOLE=whole, **block
        )
    return y, mean, rstd


@torch.library.custom_op("gan_core::instance_norm_gradient", mutates_args=())
def _gradient(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    slope: float,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """As ``reference_gradient``."""
    layout = memory_format(x)
    grad, x = (t.contiguous(memory_format=layout) for t in (grad, x))
    weight, bias = (None if p is None else p.contiguous() for p in (weight, bias))
    dx = torch.empty_like(x, memory_format=layout)
    grid, sizes, block = plan(x, layout)
    whole = grid[0] == 1
    sums = torch.empty(2, *mean.shape, grid[0], dtype=torch.float32, device=x.device)
    launch = partial(_gradient_kernel[grid], grad, x, mean, rstd, weight, bias)
    with torch.cuda.device_of(x):
        launch(sums, dx, *sizes, slope, SUM=True, USE=whole, **block)
        if not whole:
            sums = sums.sum(-1)
            launch(sums, dx, *sizes, slope, SUM=False, USE=True, **block)
    return dx, sums.reshape(2, *mean.shape)


@_forward.register_fake
def _forward_like(x: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    mean = torch.empty(x.shape[:2], dtype=torch.float32, device=x.device)
    return torch.empty_like(x, memory_format=memory_format(x)), mean, torch.empty_like(mean)


@_gradient.register_fake
def _(grad: Tensor, x: Tensor, mean: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return _forward_like(x)[0], torch.empty((2, *mean.shape), dtype=mean.dtype, device=x.device)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # zeros for mean and rstd
    x, weight, bias, residual, ctx.slope, ctx.eps = inputs
    _, mean, rstd = output
    ctx.save_for_backward(x, mean, rstd, weight, bias)
    ctx.skipped = None if residual is None else residual.dtype


def _differentiate(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, mean, rstd, weight, bias = ctx.saved_tensors
    known = mean.detach(), rstd.detach()  # what they are of x, reference_gradient finds out
    dx, (d, dn) = _gradient(grad, x, *known, weight, bias, ctx.slope, ctx.eps)
    dweight = None if weight is None else dn.sum(0).to(weight.dtype)
    dbias = None if bias is None else d.sum(0).to(bias.dtype)
    return dx, dweight, dbias, None if ctx.skipped is None else grad.to(ctx.skipped), None, None


_forward.register_autograd(_differentiate, setup_context=_keep)
differentiate_by(reference_gradient, _gradient)
