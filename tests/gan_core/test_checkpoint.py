"""Files of training states and models: whole or not at all, equal if equal, never code."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from gan_core.checkpoint import checkpoints, load_model, load_state, save_model, save_state
from gan_core.files import FileError, write_whole

STATE: dict[str, Any] = {
    "counts": {"step": 7, "share": 0.1 + 0.2, "name": "é"},
    "nets": {"G": {"weight": torch.arange(6.0).view(2, 3), "seen": torch.tensor(3)}},
    "pair": (1.5, 2),
    "list": [torch.tensor([1.0, float("nan"), -0.0]), None, True],
    "bits": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
}


def python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        cwd=Path(__file__).parents[2],
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- training states ---------------------------------------------------------------------------


def test_state_comes_back(tmp_path: Path) -> None:
    path = save_state(tmp_path / "new" / "folder", STATE, step=7, keep=2)
    assert path == tmp_path / "new" / "folder" / "step-00000007.pt"
    assert names(path.parent) == [path.name]
    back = load_state(path)
    assert back["counts"] == STATE["counts"]
    assert back["pair"] == (1.5, 2)
    assert back["list"][1:] == [None, True]
    for a, b in [
        (back["nets"]["G"]["weight"], STATE["nets"]["G"]["weight"]),
        (back["nets"]["G"]["seen"], STATE["nets"]["G"]["seen"]),
        (back["list"][0].view(torch.int32), STATE["list"][0].view(torch.int32)),
        (back["bits"], STATE["bits"]),
    ]:
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    for other in ("step-notes.pt", "step-00000001.pt.bak", "model.safetensors"):
        (tmp_path / other).write_text("mine")
    steps = [5, 10, 99_999_999, 100_000_000, 999]  # numbers are compared, not names
    for step in steps:
        save_state(tmp_path, {"step": step}, step, keep=3)
    kept = [load_state(path)["step"] for path in checkpoints(tmp_path)]
    assert kept == [999, 99_999_999, 100_000_000]
    others = {"step-notes.pt", "step-00000001.pt.bak", "model.safetensors"}
    assert others < set(names(tmp_path))
    assert len(names(tmp_path)) == 6


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save_state(tmp_path, {"value": 1}, 3, keep=2)
    path = save_state(tmp_path, {"value": 2}, 3, keep=2)
    assert load_state(path) == {"value": 2}
    assert names(tmp_path) == ["step-00000003.pt"]


def test_no_folder_has_no_checkpoints(tmp_path: Path) -> None:
    assert checkpoints(tmp_path / "none") == []


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken"])
def test_an_unreadable_state_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "step-00000001.pt"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"step-00000001\.pt is not a readable checkpoint"):
        load_state(path)
    with pytest.raises(FileError, match="is not a readable checkpoint"):
        load_state(tmp_path / "missing.pt")


def test_a_cut_state_is_named(tmp_path: Path) -> None:
    path = save_state(tmp_path, STATE, 1, keep=1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FileError, match="is not a readable checkpoint"):
        load_state(path)


def test_something_else_than_a_state_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save([1, 2, 3], path)
    with pytest.raises(FileError, match=r"weights\.pt is not a readable checkpoint"):
        load_state(path)


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (os.environ["TRAP"],))


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_file_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    trap, path = tmp_path / "trap", tmp_path / "step-00000001.pt"
    monkeypatch.setenv("TRAP", str(trap))
    if legacy:
        path.write_bytes(pickle.dumps({"nets": Code()}, protocol=2))
    else:
        torch.save({"nets": Code()}, path)
    with pytest.raises(FileError, match="is not a readable checkpoint"):
        load_state(path)
    assert not trap.exists()
    torch.load(path, weights_only=False) if not legacy else pickle.loads(path.read_bytes())
    assert trap.exists(), "the file would have run it"


# ---- models ------------------------------------------------------------------------------------


def model() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "G.model.1.weight": torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last),
        "G.model.1.bias": torch.randn(4, requires_grad=True),
        "F.seen": torch.tensor(5),
        "F.half": torch.randn(3).bfloat16(),
        "F.turned": torch.randn(3, 5).T,
    }


HEADER = {"method": "cyclegan", "size": 64, "channels": {"sketches": 1, "photos": 3}, "lr": 2e-4}


def test_model_comes_back(tmp_path: Path) -> None:
    tensors, path = model(), tmp_path / "new" / "model.safetensors"
    save_model(path, tensors, HEADER)
    back, header = load_model(path)
    assert header == {"format": 1, **HEADER}
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)
        assert not back[name].requires_grad
    assert names(path.parent) == ["model.safetensors"]


WRITE = """
import random, sys, torch
from pathlib import Path
from gan_core.checkpoint import save_model
tensors = {name: torch.full((3,), float(ord(name[0]))) for name in {"a.w", "b.w", "c.w", "d.w"}}
header = {key: list(sorted({"x", "y"})) for key in {"one", "two", "three", "four", "five"}}
save_model(Path(sys.argv[1]), tensors, header)
print(*tensors, *header)
"""


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    """Whatever order dictionaries and sets happen to have in a process."""
    orders, contents = set(), set()
    for seed in "12":
        path = tmp_path / seed
        done = python(WRITE, path, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        orders.add(done.stdout)
        contents.add(path.read_bytes())
    assert len(orders) == 2, "the orders differed"
    assert len(contents) == 1


def test_an_unreadable_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for content in (b"", b"hello, this is no model at all"):
        path.write_bytes(content)
        with pytest.raises(FileError, match=r"model\.safetensors is not a readable model file"):
            load_model(path)
    with pytest.raises(FileError, match="is not a readable model file"):
        load_model(tmp_path / "missing")
    save_model(path, model(), HEADER)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FileError, match="is not a readable model file"):
        load_model(path)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, "None"),
        ({"header": '{"format": 2}'}, "2"),
        ({"header": "no JSON"}, "None"),
        ({"header": "[1]"}, "None"),
    ],
)
def test_another_programs_model_is_named(
    tmp_path: Path, metadata: dict[str, str] | None, said: str
) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata)
    message = rf"other\.safetensors is no model file of this toolkit.* {said}, this version reads 1"
    with pytest.raises(FileError, match=message):
        load_model(path)


# ---- writes that fail --------------------------------------------------------------------------

FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from gan_core.checkpoint import save_model, save_state
from gan_core.files import FileError
folder, large = Path(sys.argv[1]), {"large": torch.zeros(1_000_000)}
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write in (
    lambda: save_state(folder, large, 1, keep=1),
    lambda: save_model(folder / "model.safetensors", large, {}),
):
    try:
        write()
    except FileError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
def test_a_write_that_fails_midway_changes_nothing(tmp_path: Path) -> None:
    """No older state is removed for one that was not written, and nothing half is left."""
    for step in (0, 1):
        save_state(tmp_path, STATE, step, keep=2)
    save_model(tmp_path / "model.safetensors", model(), HEADER)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 3
    done = python(FULL_DISK, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"could not write {tmp_path / file}: File too large; what was there before is untouched"
        for file in ("step-00000001.pt", "model.safetensors")
    ]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileError, match=r"could not write .*x: (File exists|Not a dir)"):
        write_whole(tmp_path / "file" / "x", lambda file: file.write(b"a"))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_changes_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def write(file: Any) -> None:
        file.write(b"half")
        raise error

    with pytest.raises(error):
        write_whole(path, write)
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["file"]
