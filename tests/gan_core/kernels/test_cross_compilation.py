"""Every kernel compiles, down to machine code, for GPUs that need not be there."""

import importlib
import pkgutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import gan_core.kernels

triton = pytest.importorskip("triton")

_RESAMPLE = {
    **{"x": "*T", "y": "*T", "scale": "fp32", "rows": "i32", "columns": "i32"},
    **{"H": "i32", "W": "i32", "K": 1, "planes": "i32"},
    **{"LAST": False, "ROWS": 8, "COLUMNS": 256},
}
_LAST = {"K": "i32", "planes": 1, "LAST": True}

_PIXELS = {
    **{"rows": "i32", "S": "i32", "C": "i32", "channel_stride": "i32", "place_stride": 1},
    **{"ROWS": 64, "CHANNELS": 64},
}
_PIXELS_LAST = {"channel_stride": 1, "place_stride": "i32", "ROWS": 8, "CHANNELS": 512}
_MAPS = {
    **{"S": "i32", "C": "i32", "chunk": "i32", "channel_stride": "i32", "place_stride": 1},
    **{"CHANNELS": 1, "PLACES": 2048},
}
_MAPS_LAST = {**_MAPS, "channel_stride": 1, "place_stride": "i32", "CHANNELS": 32, "PLACES": 64}
_NORM = {"x": "*T", "y": "*T", "means": "*fp32", "rstds": "*fp32", "slope": "fp32", "eps": "fp32"}
_SLOPE = {
    **{"g": "*T", "x": "*T", "dx": "*T", "means": "*fp32", "rstds": "*fp32", "sums": "*fp32"},
    "slope": "fp32",
}
_MATRIX = {
    **{"rows": "i32", "columns": "i32", "slope": "fp32", "gain": "fp32"},
    **{"ROWS": 32, "COLUMNS": 64},
}

# How kernels are called, by file and name: of each parameter the type, "*T" for a pointer to the
# numbers of the maps, or what it is worth where it is constant. Triton makes a constant of every
# argument that is None, and of integers that are 1.
CALLS: dict[str, list[dict[str, Any]]] = {
    "pixel_norm._forward_kernel": [
        {"x": "*T", "y": "*T", **way} for way in (_PIXELS, {**_PIXELS, **_PIXELS_LAST})
    ],
    "pixel_norm._gradient_kernel": [
        {"g": "*T", "x": "*T", "dx": "*T", **way} for way in (_PIXELS, {**_PIXELS, **_PIXELS_LAST})
    ],
    "moments._statistics_kernel": [
        {"x": "*T", "means": "*fp32", "deviations": "*fp32", **way} for way in (_MAPS, _MAPS_LAST)
    ],
    "moments._finish_kernel": [
        {
            **{"part_means": "*fp32", "part_deviations": "*fp32", "means": "*fp32"},
            **{"rstds": "*fp32", "rows": "i32", "S": "i32", "chunk": "i32", "chunks": "i32"},
            **{"eps": "fp32", "ROWS": 4, "CHUNKS": 128},
        }
    ],
    "instance_norm._forward_kernel": [
        {**_NORM, "weight": "*fp32", "bias": "*fp32", "residual": "*T", "WHOLE": True, **_MAPS},
        {**_NORM, "weight": None, "bias": None, "residual": None, "WHOLE": False, **_MAPS_LAST},
    ],
    "instance_norm._gradient_kernel": [
        {**_SLOPE, "weight": "*fp32", "bias": "*fp32", "SUM": True, "USE": True, **_MAPS},
        {**_SLOPE, "weight": None, "bias": None, "SUM": True, "USE": False, **_MAPS_LAST},
        {**_SLOPE, "weight": None, "bias": None, "SUM": False, "USE": True, **_MAPS_LAST},
    ],
    "bias_act._forward_kernel": [
        {**_MATRIX, "x": "*T", "bias": "*fp32", "y": "*T", "C": "i32", "LAST": False},
        {**_MATRIX, "x": "*T", "bias": None, "y": "*T", "C": "i32", "LAST": True},
    ],
    "bias_act._gradient_kernel": [
        {**_MATRIX, "g": "*T", "y": "*T", "dx": "*T", "sums": sums, "LAST": last, "STEPS": 8}
        for sums, last in [("*fp32", False), ("*fp32", True), (None, True)]
    ],
    "sample_norm._forward_kernel": [{"x": "*T", "parts": "*fp32", "N": "i32", "BLOCK": 4096}],
    "sample_norm._gradient_kernel": [
        {"g": "*fp32", "x": "*T", "norm": "*fp32", "dx": "*T", "N": "i32", "BLOCK": 4096}
    ],
    "deviation._forward_kernel": [
        {
            **{"x": "*T", "parts": "*fp32", "G": "i32", "apart": "i32", "N": "i32"},
            **{"GROUP": 4, "BLOCK": 1024},
        }
    ],
    "deviation._gradient_kernel": [
        {
            **{"g": "*fp32", "x": "*T", "dx": "*T", "G": "i32", "apart": "i32", "N": "i32"},
            **{"GROUP": 4, "BLOCK": 1024},
        }
    ],
    "resample._up_kernel": [
        {**_RESAMPLE, "new": None, "alpha": None, "FILTERED": False},
        {**_RESAMPLE, "new": None, "alpha": None, "FILTERED": True, **_LAST},
        {**_RESAMPLE, "y": "*fp32", "new": "*T", "alpha": "*fp32", "FILTERED": False, **_LAST},
    ],
    "resample._down_kernel": [
        {**_RESAMPLE, "late": None, "alpha": None, "FILTERED": False},
        {**_RESAMPLE, "late": None, "alpha": None, "FILTERED": True, **_LAST},
        {**_RESAMPLE, "x": "*fp32", "late": "*T", "alpha": "*fp32", "FILTERED": False, **_LAST},
    ],
}


def kernels() -> dict[str, Any]:
    """Every kernel that is launched; parts that kernels call, named without _kernel, are not."""
    found = {}
    for module in pkgutil.iter_modules(gan_core.kernels.__path__):
        file = importlib.import_module(f"gan_core.kernels.{module.name}")
        for name, value in vars(file).items():
            if isinstance(value, triton.JITFunction) and name.endswith("_kernel"):
                found[f"{module.name}.{name}"] = value
    return found


def test_every_kernel_is_compiled_here() -> None:
    assert set(kernels()) == set(CALLS)


@pytest.mark.parametrize(
    ("capability", "numbers"),
    [
        (90, "bf16"),
        *(
            pytest.param(capability, numbers, marks=pytest.mark.slow)
            for capability, numbers in product((80, 90), ("fp16", "bf16", "fp32"))
            if (capability, numbers) != (90, "bf16")
        ),
    ],
)
@pytest.mark.parametrize(
    ("name", "call"), [(name, call) for name, calls in CALLS.items() for call in calls]
)
def test_compiles(
    name: str,
    call: dict[str, Any],
    capability: int,
    numbers: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = {k: v for k, v in call.items() if not isinstance(v, str)}
    signature = {k: "constexpr" if k in constants else v for k, v in call.items()}
    source = triton.compiler.ASTSource(
        fn=kernels()[name],
        signature={k: v.replace("T", numbers) for k, v in signature.items()},
        constexprs=constants,
    )
    target = triton.backends.compiler.GPUTarget("cuda", capability, 32)
    compiled = triton.compile(source, target=target)
    assert len(compiled.asm["cubin"]) > 1000
    assert f".target sm_{capability}" in compiled.asm["ptx"]
