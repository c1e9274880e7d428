"""Kernels' tests, test_kernel_*.py, run where kernels do: on a GPU, or in Triton's interpreter.

Triton chooses the interpreter for a whole process, when kernels are defined; in a process where it
is on, everything else on the CPU would choose the kernels as well. So test_interpreted.py runs the
files in processes of their own. One of them by hand: TRITON_INTERPRET=1 pytest <file>
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_core.kernels.dispatch import INTERPRETED

if INTERPRETED:
    collect_ignore_glob = ["test_interpreted.py", "test_cross_compilation.py"]
elif not torch.cuda.is_available():
    collect_ignore_glob = ["test_kernel_*.py"]


@pytest.fixture
def device() -> torch.device:
    """Where kernels run."""
    return torch.device("cpu" if INTERPRETED else "cuda")


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New tensors are full of NaN until they are written, and so is what lies around them."""
    margin, wholes = 4096, []

    def spoilt(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def made(*args: Any, **kwargs: Any) -> Tensor:
            x = make(*args, **kwargs)
            wholes.append(x.new_full((x.numel() + 2 * margin,), torch.nan))
            return wholes[-1].as_strided(x.shape, x.stride(), margin)

        return made

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, spoilt(getattr(torch, name)))
    yield
    assert wholes
    for whole in wholes:
        assert whole[:margin].isnan().all()
        assert whole[-margin:].isnan().all()
