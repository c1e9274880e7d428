"""Measuring kernels: what is timed, and what one that fails does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_core.kernels import Operation
from translate.bench.kernels import _times, backward, forward
from translate.bench.run import _Bench


def test_every_way_is_the_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: compiled.append("from nothing"))
    monkeypatch.setattr(torch, "compile", lambda made, dynamic: compiled.append(made) or made)
    asked: list[Any] = []

    def call(x: Tensor, *, impl: str) -> Tensor:
        asked.append(impl)
        return x + 1

    tensors = (torch.randn(4, 6),)
    operation = Operation(call, lambda *_: tensors, lambda x: 2 * x.nbytes, lambda x: x.nbytes)
    calls = forward(operation, tensors, 2 * tensors[0].nbytes)
    assert list(calls) == ["ours", "eager", "compiled", "copy"]
    for name in ("ours", "eager", "compiled"):
        made = calls[name]()
        assert isinstance(made, Tensor)
        assert torch.equal(made, tensors[0] + 1)
        assert not made.requires_grad
    assert asked == ["triton", "reference", "reference"]
    assert compiled[0] == "from nothing"
    assert len(compiled) == 2
    copied = calls["copy"]()
    assert isinstance(copied, Tensor)
    assert 2 * copied.nbytes == 2 * tensors[0].nbytes, "read once and written once"


def test_the_way_back_is_walked_alone_and_often() -> None:
    asked: list[Any] = []

    def call(x: Tensor, share: Tensor, *, impl: str) -> Tensor:
        asked.append(impl)
        return share * x.square()

    x, share = torch.randn(2, 1, 2, 2), torch.tensor(3.0)
    operation = Operation(call, lambda *_: (x, share), lambda *_: 0, lambda *_: 0)
    calls = backward(operation, (x, share), 2 * x.nbytes)
    assert list(calls) == ["ours", "eager", "compiled", "copy"]
    for name in ("ours", "eager"):
        first, second = calls[name](), calls[name]()
        assert isinstance(first, tuple)
        assert isinstance(second, tuple)
        assert torch.equal(*first, *second)
    assert asked == ["triton", "reference"]


def test_ways_take_turns_and_failures_are_said() -> None:
    order: list[str] = []

    def way(name: str) -> Callable[[], object]:
        return lambda: order.append(name)

    def broken() -> object:
        order.append("broken")
        raise ValueError("not here\nand more")

    def do_bench(call: Callable[[], object], return_mode: str) -> float:
        assert return_mode == "median"
        call()
        return 5.0 * len(order)  # milliseconds

    measured = _times({"ours": way("ours"), "eager": broken, "copy": way("copy")}, do_bench, 2)
    assert order == ["ours", "broken", "copy", "ours", "copy"]
    assert measured == {
        "seconds": {"ours": [0.005, 0.02], "copy": [0.015, 0.025]},
        "failed": {"eager": "ValueError: not here"},
    }


def test_without_a_gpu_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translate.bench.run.Lane", None)
    bench: Any = _Bench(None, None, None, None)  # type: ignore[arg-type]
    bench.measure("kernels", type("Asked", (), {"device": "cpu"}), {})
    assert bench.kernels == bench.comparisons == []
    assert bench.notes == ["kernels: left out, they run on CUDA devices, not on cpu"]
