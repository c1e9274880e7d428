"""A model file read and its networks rebuilt; what it lacks is one line."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import save_tiny
from torch import Tensor

from gan_core.checkpoint import load_model, save_model
from gan_core.files import FileError
from translate.errors import UserError
from translate.model import Model, describing, find_precision, load_network, read_model
from translate.networks.resnet import ResnetGenerator

Parts = tuple[dict[str, Tensor], dict[str, Any]]


@pytest.fixture
def parts(model: Path) -> Parts:
    """Tensors and header, to be changed."""
    return load_model(model / "model.safetensors")


def refusal(path: Path, parts: Parts, name: str = "G") -> str:
    with pytest.raises(UserError) as told:
        load_network(path, *parts, name)
    said = str(told.value)
    assert "\n" not in said
    assert said.startswith(f"{path} holds a model that cannot be built here: ")
    return said


def test_a_run_folder_or_its_model_file(model: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(model / "model.safetensors", tmp_path / "other name"))
    tensors, header = read_model(model)
    assert header["translations"][0]["to"] == "paintings"
    for path in (model / "model.safetensors", alone):
        again, same = read_model(path)
        assert same == header
        assert again.keys() == tensors.keys()
        assert all(torch.equal(again[key], tensor) for key, tensor in tensors.items())


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"model {tmp_path}/x does not exist$"):
        read_model(tmp_path / "x")
    with pytest.raises(UserError, match=f"model {tmp_path} has no model.safetensors yet$"):
        read_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(FileError, match="is not a readable model file"):
        read_model(tmp_path)


@pytest.mark.parametrize("name", ["G", "F"])
def test_a_network_as_it_was_saved(model: Path, parts: Parts, name: str) -> None:
    tensors, _ = parts
    net = load_network(model, *parts, name)
    assert isinstance(net, ResnetGenerator)
    state = net.state_dict()
    assert {f"{name}.{key}" for key in state} == {k for k in tensors if k.startswith(f"{name}.")}
    assert all(torch.equal(tensors[f"{name}.{key}"], tensor) for key, tensor in state.items())
    made = net(torch.zeros(1, 3, 16, 16))
    assert made.shape == (1, 3, 16, 16)
    assert made.isfinite().all()


def test_names_that_begin_alike(model: Path, parts: Parts) -> None:
    tensors, header = parts
    alike = {f"G{key}": torch.zeros(1) for key in tensors if key.startswith("G.")}
    net = load_network(model, tensors | alike, header, "G")
    assert all(torch.equal(tensors[f"G.{key}"], t) for key, t in net.state_dict().items())


def test_networks_that_cannot_be_rebuilt(model: Path, parts: Parts) -> None:
    tensors, header = parts
    first, *_ = (key for key in tensors if key.startswith("G."))
    left = {key: tensor for key, tensor in tensors.items() if key != first}
    assert "state_dict" in refusal(model, (left, header))
    assert "state_dict" in refusal(model, (tensors | {"G.more": torch.zeros(1)}, header))
    assert "state_dict" in refusal(model, (tensors | {first: torch.zeros(1)}, header))
    assert "'H'" in refusal(model, parts, "H")
    assert "'networks'" in refusal(model, (tensors, {}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda net: net.update(kind="unet9"), "'unet9' is not known here: resnet, unet"),
        (lambda net: net.pop("kind"), "'kind'"),
        (lambda net: net.pop("arguments"), "'arguments'"),
        (lambda net: net.update(arguments=None), "mapping"),
        (lambda net: net["arguments"].pop("size"), "'size'"),
        (lambda net: net["arguments"].update(deep=1), "'deep'"),
        (lambda net: net["arguments"].update(filters=0), "filters must be 1 or more, not 0"),
        (lambda net: net["arguments"].update(filters="4"), "not supported between"),
        (lambda net: net["arguments"].update(blocks=2), "state_dict"),
    ],
)
def test_descriptions_that_say_too_little_or_something_else(
    model: Path, parts: Parts, change: Callable[[Any], object], says: str
) -> None:
    change(parts[1]["networks"]["G"])
    assert says in refusal(model, parts)


@pytest.mark.parametrize("kind", [KeyError, TypeError, ValueError, RuntimeError])
def test_the_first_line_of_a_reason(kind: type[Exception]) -> None:
    with pytest.raises(UserError) as told, describing(Path("a")):
        raise kind("one") if kind is KeyError else kind("one\ntwo")
    reason = "'one'" if kind is KeyError else "one"
    assert str(told.value) == f"a holds a model that cannot be built here: {reason}"
    assert isinstance(told.value.__cause__, kind)


@pytest.mark.parametrize("kind", [OSError, ZeroDivisionError, KeyboardInterrupt])
def test_what_is_no_fault_of_a_header_passes(kind: type[BaseException]) -> None:
    with pytest.raises(kind), describing(Path("a")):
        raise kind


def test_number_formats() -> None:
    cpu = torch.device("cpu")
    for name in ("fp32", "bf16", "fp16"):
        assert find_precision(name, cpu) == name
    assert find_precision("auto", cpu) in ("fp32", "bf16")
    with pytest.raises(UserError, match=r"^precision 'half': choose auto, fp32, bf16, fp16$"):
        find_precision("half", cpu)


# ---- a model with its method ---------------------------------------------------------------------

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def drawing(draw: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that draws from noise and has an encoder."""
    base = tmp_path_factory.mktemp("drawing")
    return save_tiny(base / "ogan.safetensors", "ogan", draw(base / "faces", 2))


def test_a_model_computes_what_its_networks_do(drawing: Path) -> None:
    """Without the state of training: one picture does not change what becomes of another."""
    model, parts = Model(drawing, "encode", CPU, "fp32"), load_model(drawing)
    assert model.nets.keys() == {"G", "E"}
    assert not any(net.training for net in model.nets.values())
    G, E = (load_network(drawing, *parts, name).eval() for name in "GE")
    z, x = torch.randn(3, 8), torch.rand(3, 3, 16, 16) * 2 - 1
    drawn, code = model.generate(z), model.encode(x)
    assert torch.equal(drawn, G(z))
    seen = E(x)
    scaled = (seen - seen.mean(1, keepdim=True)) / seen.std(1, correction=0, keepdim=True)
    torch.testing.assert_close(code, scaled)  # the direction alone was learned
    torch.testing.assert_close(model.decode(code), G(scaled))
    assert not drawn.requires_grad
    assert not code.requires_grad
    torch.testing.assert_close(model.generate(z[:1]), drawn[:1])


def test_numbers_go_in_and_out_as_float32_whatever_they_are_computed_in(drawing: Path) -> None:
    exact, coarse = (Model(drawing, "encode", CPU, precision) for precision in ("fp32", "bf16"))
    z = torch.randn(3, 8)
    one, other = exact.generate(z), coarse.generate(z)
    assert one.dtype == other.dtype == torch.float32
    assert 0 < (one - other).abs().max() < 0.1


def test_a_recipe_of_before_a_key_was_there_has_its_default(drawing: Path, tmp_path: Path) -> None:
    tensors, header = load_model(drawing)
    settings = header["recipe"]["method"]
    assert settings["prior"] == "normal"
    header["recipe"]["method"] = {"name": "ogan"}
    save_model(tmp_path / "older.safetensors", tensors, header)
    older = Model(tmp_path / "older.safetensors", "generate", CPU, "fp32")
    z = torch.randn(2, 8)
    assert torch.equal(older.generate(z), Model(drawing, "generate", CPU, "fp32").generate(z))
    header["recipe"]["method"] = {"name": "ogan", "prior": "uniform"}
    save_model(tmp_path / "uniform.safetensors", tensors, header)
    uniform = Model(tmp_path / "uniform.safetensors", "generate", CPU, "fp32")
    assert (uniform.generate(z) - older.generate(z)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("use", "says"),
    [
        ("generate", "is a cyclegan model, which draws nothing from noise: use translate convert"),
        (
            "encode",
            "is a cyclegan model, which has no encoder: take a model of ebgan, began, ogan "
            "(translate train gan --recipe faces-ogan)",
        ),
    ],
)
def test_what_a_method_does_not_offer(model: Path, use: Any, says: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(f'{model} {says}')}$"):
        Model(model, use, CPU)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda header: header.pop("method"), "'method'"),
        (lambda header: header.pop("recipe"), "'recipe'"),
        (lambda header: header["recipe"]["method"].update(code=3), "code = 3: should be"),
        (lambda header: header["recipe"]["method"].update(codes=3), "no key 'codes'"),
        (lambda header: header["recipe"]["method"].update(lambda_code=-1.0), "lambda_code must be"),
        (lambda header: header.update(method="dreaming"), "no method is called 'dreaming'"),
    ],
)
def test_headers_that_name_no_method_that_is_known(
    drawing: Path, tmp_path: Path, change: Callable[[Any], object], says: str
) -> None:
    tensors, header = load_model(drawing)
    change(header)
    save_model(tmp_path / "a.safetensors", tensors, header)
    with pytest.raises(UserError) as told:
        Model(tmp_path / "a.safetensors", "generate", CPU)
    assert says in str(told.value)
    assert "\n" not in str(told.value)
