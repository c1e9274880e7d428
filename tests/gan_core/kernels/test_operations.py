"""What a benchmark is told of every operation."""

import pytest
import torch
from torch import Tensor

from gan_core.kernels import OPERATIONS

META = torch.device("meta")


@pytest.mark.parametrize("name", OPERATIONS)
def test_bytes_moved(name: str) -> None:
    """All that goes in is read, and all that comes out is written, once each."""
    operation = OPERATIONS[name]
    for dtype in (torch.float32, torch.bfloat16):
        inputs = operation.example(META, dtype)
        assert inputs[0].dtype == dtype
        assert inputs[0].is_contiguous(memory_format=torch.channels_last)
        y: Tensor = operation.call(*inputs, impl="auto")
        expected = sum(x.nbytes for x in inputs) + y.nbytes
        assert operation.moved(*inputs) == pytest.approx(expected, rel=0.01)
        assert expected > 10**5


LINEAR = ("upsample", "upsample filtered", "downsample", "downsample filtered", "fade_up")


@pytest.mark.parametrize("name", OPERATIONS)
def test_bytes_moved_back(name: str) -> None:
    """The result's gradient is read, and a map where the operation is not linear; the maps'
    gradients are written, but that of a skip, which is the result's."""
    operation = OPERATIONS[name]
    for dtype in (torch.float32, torch.bfloat16):
        inputs = operation.example(META, dtype)
        y: Tensor = operation.call(*inputs, impl="auto")
        maps = [x for x in inputs if x.ndim == 4][: 2 if name == "fade_up" else 1]
        known = [] if name in LINEAR else maps[:1]
        expected = y.nbytes + sum(x.nbytes for x in known) + sum(x.nbytes for x in maps)
        assert operation.moved_back(*inputs) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", OPERATIONS)
def test_there_is_no_kernel_for_shapes_alone(name: str) -> None:
    operation = OPERATIONS[name]
    with pytest.raises(ValueError, match="the Triton kernel cannot run: on meta"):
        operation.call(*operation.example(META, torch.float32), impl="triton")
