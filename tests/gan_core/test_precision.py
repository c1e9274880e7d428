"""Number formats: what "auto" stands for, autocast, and the loss scale of fp16."""

import pytest
import torch

from gan_core import precision
from gan_core.precision import FORMATS, LossScale, autocast, resolve, upcast

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("device", [CPU, CUDA, MPS])
def test_a_named_format_is_kept(name: str, device: torch.device) -> None:
    assert resolve(name, device) == name


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="precision 'half': choose auto, fp32, bf16, fp16"):
        resolve("half", CPU)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, "fp32"),
        ({"avx512_f": True, "avx512_bf16": False}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bf16"),
        ({"bf16": True}, "bf16"),
    ],
)
def test_auto_on_a_cpu_asks_for_bf16_instructions(
    flags: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    assert resolve("auto", CPU) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp16")])
def test_auto_on_cuda_does_not_emulate(
    native: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert resolve("auto", CUDA) == expected


def test_auto_elsewhere_is_fp32() -> None:
    assert resolve("auto", MPS) == "fp32"


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_autocast(name: str, dtype: torch.dtype) -> None:
    a = torch.randn(4, 4)
    with autocast(name, CPU):
        assert (a @ a).dtype == dtype
    assert (a @ a).dtype == torch.float32
    with autocast("bf16", CPU), autocast(name, CPU):
        assert (a @ a).dtype == dtype, "the inner one counts"


def test_upcast() -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert upcast(torch.ones(2, dtype=dtype)).dtype == torch.float32
    assert upcast(torch.ones(2, dtype=torch.float64)).dtype == torch.float64


def test_scale_halves_and_doubles() -> None:
    scale = LossScale(value=8.0, patience=3)
    scale.good_step()
    scale.good_step()
    scale.bad_step()
    assert scale == LossScale(4.0, 0, 3)
    values = []
    for _ in range(6):
        scale.good_step()
        values.append(scale.value)
    assert values == [4.0, 4.0, 8.0, 8.0, 8.0, 16.0], "three good ones in a row each time"


def test_scale_has_ends() -> None:
    scale = LossScale(patience=1)
    for _ in range(50):
        scale.bad_step()
    assert scale.value == 1.0
    for _ in range(50):
        scale.good_step()
    assert scale.value == 2.0**24


def test_defaults_fit_the_paper() -> None:
    """A power of two, so that scaling rounds nothing; doubled after 2000 good steps."""
    scale = LossScale()
    assert scale.value == 2 ** round(torch.tensor(scale.value).log2().item())
    for _ in range(1999):
        scale.good_step()
    before = scale.value
    scale.good_step()
    assert scale.value == 2 * before
    assert set(precision.FORMATS) == {"fp32", "bf16", "fp16"}
