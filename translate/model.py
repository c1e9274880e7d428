"""A model file, its method, and the networks in it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gan_core.checkpoint import load_model
from gan_core.growth import Stage, at_stage, grows
from gan_core.precision import autocast, resolve, upcast
from translate.errors import UserError
from translate.methods import METHODS, find_method
from translate.networks import rebuild
from translate.schema import assemble, check, keyed

Use = Literal["generate", "encode"]


class Model:
    """A method and its networks as a model file holds them, to draw with or to have codes of.

    use: what the method must offer, see ``translate.methods``; UserError if it does not.
    at: of networks that grow, the resolution to draw at; else that which training had reached.
        The colours of lower ones were last trained while they were shown, but for a model with a
        consistency term: blocks below have moved on since.
    Tensors go in and come out as float32 on the host.
    """

    def __init__(
        self,
        path: Path,
        use: Use,
        device: torch.device,
        precision: str = "auto",
        at: int | None = None,
    ) -> None:
        tensors, self.header = read_model(path)
        with describing(path):
            method = self.header["method"]
            maker = find_method(method)
        if not hasattr(maker, use):
            raise UserError(f"{path} is a {method} model, which {_lacks(use)}")
        with describing(path):
            values = dict(self.header["recipe"]["method"])
            del values["name"]
            self.method = assemble(maker, check("method", values, keyed(maker)))
            names = list(self.header["networks"])
        self.nets = {name: load_network(path, tensors, self.header, name) for name in names}
        for net in self.nets.values():
            net.to(device).eval()
        self.nets = self._grown(path, at)
        if precision == "auto" and self.header["recipe"].get("data", {}).get("kind") == "points":
            precision = "fp32"  # 16 bits do for pictures, which are rounded to 8, but not for these
        self.device, self.precision = device, find_precision(precision, device)

    def _grown(self, path: Path, at: int | None) -> dict[str, nn.Module]:
        if not any(map(grows, self.nets.values())):
            if at is not None:
                raise UserError(f"{path} is no model of networks that grow: leave --at out")
            return self.nets
        with describing(path):
            whole = {"resolution": self.header["size"], "alpha": 1.0}
            stage = Stage(**self.header.get("stage", whole))
        levels = [4 << n for n in range((stage.resolution // 4).bit_length())]
        if at is not None and at not in levels:
            known = ", ".join(map(str, levels))
            raise UserError(f"the model draws at {known}, as far as it was trained, not at {at}")
        return at_stage(self.nets, stage if at in (None, stage.resolution) else Stage(at, 1.0))

    def generate(self, normal: Tensor, label: Tensor | None = None) -> Tensor:
        """Pictures of draws [B, latent] from N(0, 1), and of labels [B] where there are classes."""
        given = (normal,) if label is None else (normal, label)
        return self._made(self.method.generate, *given)

    def encode(self, pictures: Tensor) -> Tensor:
        """Codes [B, n] of pictures [B, C, H, W] in [-1, 1]."""
        return self._made(self.method.encode, pictures)

    def decode(self, codes: Tensor) -> Tensor:
        """Pictures of codes."""
        return self._made(self.method.decode, codes)

    @torch.inference_mode()
    def _made(self, function: Callable[..., Tensor], *given: Tensor) -> Tensor:
        with autocast(self.precision, self.device):
            made = function(self.nets, *(values.to(self.device) for values in given))
        made = upcast(made).cpu()
        if made.isnan().any():
            raise UserError("the model makes no numbers here: try --precision fp32")
        return made


def _lacks(use: Use) -> str:
    if use == "generate":
        return "draws nothing from noise: use translate convert"
    able = ", ".join(name for name, maker in METHODS.items() if hasattr(maker, use))
    return f"has no encoder: take a model of {able} (translate train gan --recipe faces-ogan)"


def read_model(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a run folder's model, or of the file itself."""
    model = path / "model.safetensors" if path.is_dir() else path
    if not model.is_file():
        what = "has no model.safetensors yet" if path.is_dir() else "does not exist"
        raise UserError(f"model {path} {what}")
    return load_model(model)


def load_network(
    path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any], name: str
) -> nn.Module:
    """One of the model's networks, built as its header says."""
    prefix = f"{name}."
    weights = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
    with describing(path):
        with torch.device("meta"):
            net = rebuild(header["networks"][name])
        net.load_state_dict(weights, assign=True)
    return net


def find_precision(name: str, device: torch.device) -> str:
    """The number format that a person asks for, "auto" resolved; UserError if there is none."""
    try:
        return resolve(name, device)
    except ValueError as error:
        raise UserError(str(error)) from None


@contextmanager
def describing(path: Path) -> Iterator[None]:
    """A header that does not say what is asked of it becomes a UserError."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} holds a model that cannot be built here: {reason}") from error
