"""The kernels that double, halve and fade, against matrices in NumPy and formulas in float64."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kernel_checks import LAYOUTS, assert_accurate, draw
from torch import Tensor

from gan_core.kernels import dispatch
from gan_core.kernels.resample import _down, _fade, _unfade, _up, downsample, fade_up, upsample

# Of the smaller maps. The last two have more columns, rows and channels than a program takes.
SHAPES = [(2, 5, 3, 7), (3, 4, 1, 1), (1, 1, 5, 1), (1, 2, 3, 270), (1, 300, 2, 3)]
FILTERED = [False, True]
ALPHA = torch.tensor([0.0, 0.25, 0.875, 1.0])


def operator(n: int, filtered: bool) -> np.ndarray:
    """[2 n, n]: what doubling does to n numbers: two of each, and their blur."""
    twice = np.repeat(np.eye(n), 2, axis=0)
    beyond = np.concatenate([twice[:1], twice, twice[-1:]])
    return (beyond[:-2] + 2 * beyond[1:-1] + beyond[2:]) / 4 if filtered else twice


@pytest.mark.parametrize("impl", ["reference", "triton"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("filtered", FILTERED)
@pytest.mark.parametrize("shape", SHAPES)
def test_by_matrices(
    shape: tuple[int, ...],
    filtered: bool,
    layout: torch.memory_format,
    impl: dispatch.Impl,
    device: torch.device,
) -> None:
    rows, columns = (operator(n, filtered) for n in shape[2:])
    x, y = draw(*shape), draw(*shape[:2], len(rows), len(columns), seed=1)
    up, down = (
        f(t.to(device, torch.float32, memory_format=layout), filtered=filtered, impl=impl)
        for f, t in [(upsample, x), (downsample, y)]
    )
    doubled = np.einsum("yh,xw,bchw->bcyx", rows, columns, x)
    np.testing.assert_allclose(up.cpu(), doubled, rtol=1e-6, atol=1e-6)
    halved = np.einsum("yh,xw,bcyx->bchw", rows, columns, y) / 4
    np.testing.assert_allclose(down.cpu(), halved, rtol=1e-6, atol=1e-6)


def test_the_filter_is_bilinear_and_keeps_constants() -> None:
    x = draw(2, 3, 4, 5)
    between = F.interpolate(x, scale_factor=2, mode="bilinear")
    assert torch.allclose(upsample(x, filtered=True), between, rtol=1e-12, atol=1e-15)
    same = torch.full((1, 1, 4, 6), 7.0)
    assert torch.equal(downsample(same, filtered=True), torch.full((1, 1, 2, 3), 7.0))


@pytest.mark.parametrize("filtered", FILTERED)
def test_gradients_of_the_formulas(filtered: bool) -> None:
    x = draw(1, 2, 4, 2).requires_grad_()
    for f in (upsample, downsample):
        by = partial(f, filtered=filtered, impl="reference")
        assert torch.autograd.gradcheck(by, x)
        assert torch.autograd.gradgradcheck(by, x)


@pytest.mark.parametrize("dtype", dispatch.DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("shape", "filtered"), [(SHAPES[0], False), (SHAPES[0], True), (SHAPES[1], True)]
)
@pytest.mark.parametrize("f", [upsample, downsample])
def test_three_orders(
    f: Callable[..., Tensor],
    shape: tuple[int, ...],
    filtered: bool,
    layout: torch.memory_format,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    if f is downsample:
        shape = (*shape[:2], 2 * shape[2], 2 * shape[3])
    x = draw(*shape).to(device, dtype, memory_format=layout)
    kernel = partial(f, filtered=filtered, impl="triton")
    assert_accurate(kernel, partial(f, filtered=filtered, impl="reference"), [x])
    y = kernel(x)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=memory_format_of(x))
    assert dispatch.ran()[f.__name__] == "triton"


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Maps of one number or one channel lie both ways; what is made of them is contiguous."""
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


@pytest.mark.parametrize("filtered", FILTERED)
def test_each_is_the_others_gradient(filtered: bool, device: torch.device) -> None:
    """<up x, y> = 4 <x, down y>, to any order: the third is a doubling again."""
    x, y = draw(2, 3, 5, 4), draw(2, 3, 10, 8, seed=1)
    x, y = (t.to(device, torch.float32).requires_grad_() for t in (x, y))
    up, down = (partial(f, filtered=filtered, impl="triton") for f in (upsample, downsample))
    assert torch.allclose((up(x) * y).sum(), 4 * (x * down(y)).sum(), rtol=1e-5)
    (first,) = torch.autograd.grad((up(x) * y).sum(), x, create_graph=True)
    assert torch.equal(first, 4 * down(y))
    (second,) = torch.autograd.grad((first * x).sum(), y, create_graph=True)
    assert torch.equal(second, up(x))
    (third,) = torch.autograd.grad((second * y).sum(), x)
    assert torch.equal(third, first)


@pytest.mark.parametrize("f", [upsample, downsample])
def test_other_layouts(f: Callable[..., Tensor], device: torch.device) -> None:
    """Strided maps, and gradients that do not lie as the maps do."""
    x = draw(2, 6, 4, 5).to(device, torch.float32)
    kernel, reference = (
        lambda x, impl=impl: f(x[:, ::2, :, 1:], impl=impl).permute(0, 1, 3, 2)
        for impl in ("triton", "reference")
    )
    assert_accurate(kernel, reference, [x])


@pytest.mark.parametrize("shape", [(1, 1, 3, 4), (1, 1, 4, 3), (1, 1, 1, 2)])
def test_odd_sides_cannot_be_halved(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"even.*{shape[2]}x{shape[3]}"):
        downsample(torch.zeros(shape))


# The fade.


def fading(impl: dispatch.Impl, alpha: Tensor = ALPHA) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda old, new: fade_up(old, new, alpha, impl=impl)


def test_a_fade_by_hand(device: torch.device) -> None:
    old = torch.tensor([1.0, 2.0], device=device).reshape(1, 1, 1, 2)
    new = torch.arange(8.0, device=device).reshape(1, 1, 2, 4)
    expected = torch.tensor([[0.75, 1.0, 2.0, 2.25], [1.75, 2.0, 3.0, 3.25]])
    for impl in ("reference", "triton"):
        found = fade_up(old, new, torch.tensor([0.25]), impl=impl)
        assert torch.equal(found[0, 0].cpu(), expected), impl


@pytest.mark.parametrize("impl", ["reference", "triton"])
def test_the_ends_of_a_fade_are_exact(impl: dispatch.Impl, device: torch.device) -> None:
    """Though the difference of the two is rounded."""
    old, new = torch.full((2, 1, 1, 1), 1e8, device=device), torch.full((2, 1, 2, 2), 0.1)
    for pair in [(old, new.to(device)), (old / 1e9, new.to(device) * 1e9)]:
        y = fade_up(*pair, torch.tensor([0.0, 1.0]), impl=impl)
        assert torch.equal(y[0], pair[0][0].expand(1, 2, 2))
        assert torch.equal(y[1], pair[1][1])


def test_gradients_of_the_fade() -> None:
    old, new = draw(4, 1, 1, 2).requires_grad_(), draw(4, 1, 2, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(fading("reference"), (old, new))
    assert torch.autograd.gradgradcheck(fading("reference"), (old, new))


@pytest.mark.parametrize("dtype", dispatch.DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sides", [(3, 7), (1, 1), (5, 2)])
def test_three_orders_of_the_fade(
    sides: tuple[int, int], layout: torch.memory_format, dtype: torch.dtype, device: torch.device
) -> None:
    old, new = draw(4, 3, *sides), draw(4, 3, 2 * sides[0], 2 * sides[1], seed=1)
    old, new = (t.to(device, dtype, memory_format=layout) for t in (old, new))
    assert_accurate(fading("triton"), fading("reference"), [old, new])
    y = fading("triton")(old, new)
    assert y.dtype == torch.float32
    assert y.is_contiguous(memory_format=layout)
    assert torch.equal(y[0], upsample(old)[0].float())
    assert torch.equal(y[3], new[3].float())
    assert dispatch.ran()["fade_up"] == "triton"


def test_one_share_for_all(device: torch.device) -> None:
    old, new = draw(2, 3, 2, 2), draw(2, 3, 4, 4, seed=1)
    old, new = (t.to(device, torch.float32) for t in (old, new))
    for alpha in (torch.tensor([0.3], dtype=torch.float64), torch.tensor([0.3, 0.3])):
        assert_accurate(fading("triton", alpha), fading("reference", alpha), [old, new])


def test_fades_of_other_layouts_and_formats(device: torch.device) -> None:
    """The result lies as ``new`` does, and each gradient has the format of what it belongs to."""
    old, new = draw(4, 3, 2, 5), draw(4, 3, 4, 10, seed=1)
    for layout, other in (LAYOUTS, LAYOUTS[::-1]):
        x = old.to(device, torch.bfloat16, memory_format=layout)
        y = new.to(device, torch.float32, memory_format=other)
        assert_accurate(fading("triton"), fading("reference"), [x, y])
        assert fading("triton")(x, y).is_contiguous(memory_format=other)


@pytest.mark.parametrize("impl", ["reference", "triton"])
def test_a_share_is_a_constant(impl: dispatch.Impl, device: torch.device) -> None:
    alpha = ALPHA.to(device, copy=True).requires_grad_()
    old, new = (torch.ones(4, 1, n, n, device=device, requires_grad=True) for n in (1, 2))
    fade_up(old, new, alpha, impl=impl).sum().backward()
    assert alpha.grad is None
    assert torch.equal(old.grad[:, 0, 0, 0].cpu(), 4 * (1 - ALPHA))
    assert torch.equal(new.grad[:, 0, 1, 1].cpu(), ALPHA)


# What all are.


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_is_written(layout: torch.memory_format, device: torch.device) -> None:
    old, new = draw(4, 2, 7, 33), draw(4, 2, 14, 66)
    old, new = (t.to(device, torch.float32, memory_format=layout) for t in (old, new))
    for filtered in FILTERED:
        assert _up(old, filtered, 1.0).isfinite().all()
        assert _down(new, filtered, 1.0).isfinite().all()
    assert _fade(old, new, ALPHA.to(device)).isfinite().all()
    for part in _unfade(new, ALPHA.to(device), torch.float16, torch.float32):
        assert part.isfinite().all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_as_operators(layout: torch.memory_format, device: torch.device) -> None:
    old, new, alpha = draw(4, 3, 2, 5), draw(4, 3, 4, 10), ALPHA.to(device)
    old, new = (
        t.to(device, torch.bfloat16, memory_format=layout).requires_grad_() for t in (old, new)
    )
    torch.library.opcheck(_up, (old, True, 1.0))
    torch.library.opcheck(_down, (new, True, 0.25))
    torch.library.opcheck(_fade, (old, new, alpha))
    torch.library.opcheck(_unfade, (new, alpha, torch.bfloat16, torch.bfloat16))


def test_compiled_and_under_autocast(device: torch.device) -> None:
    old = draw(4, 3, 2, 5).to(device, torch.bfloat16).requires_grad_()
    new = draw(4, 3, 4, 10, seed=1).to(device, torch.bfloat16).requires_grad_()

    def all_of_them(old: Tensor, new: Tensor) -> tuple[Tensor, ...]:
        small = downsample(new, filtered=True, impl="triton")
        faded = fade_up(old, new, ALPHA, impl="triton")
        return small, upsample(old, filtered=True, impl="triton"), faded

    compiled = torch.compile(all_of_them, fullgraph=True, backend="aot_eager")
    with torch.autocast(device.type, torch.float16):
        found = compiled(old, new)
    expected = all_of_them(old, new)
    assert [y.dtype for y in found] == [torch.bfloat16, torch.bfloat16, torch.float32]
    g = [torch.ones_like(y) for y in expected]
    for a, b in zip(
        [*found, *torch.autograd.grad(found, (old, new), g)],
        [*expected, *torch.autograd.grad(expected, (old, new), g)],
        strict=True,
    ):
        assert torch.equal(a, b)
