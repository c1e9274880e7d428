"""What the tests of the unconditional systems share: tiny networks and data, and how their training
is compared with one that is written by hand."""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gan_core.trainer
from gan_core.networks.autoencoder import Autoencoder
from gan_core.routing import Progress, route_matrix, trainable
from gan_core.trainer import Trainer

BATCH, SIDE = 5, 4
Build = Mapping[str, Callable[..., nn.Module]]
Networks = dict[str, nn.Module]
Maker = Callable[[Any], torch.optim.Optimizer]


class PictureGenerator(nn.Module):
    """z [B, latent] -> [B, out_channels, 4, 4] in [-1, 1], linear but for the last tanh."""

    def __init__(self, out_channels: int, latent: int = 4) -> None:
        super().__init__()
        self.latent = latent
        self.layers = nn.Sequential(
            nn.Linear(latent, out_channels * SIDE * SIDE),
            nn.Tanh(),
            nn.Unflatten(1, (out_channels, SIDE, SIDE)),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


def autoencoder(channels: int, code: int = 6) -> Autoencoder:
    numbers = channels * SIDE * SIDE
    encode = nn.Sequential(nn.Flatten(), nn.Linear(numbers, code), nn.Tanh())
    decode = nn.Sequential(
        nn.Linear(code, numbers), nn.Tanh(), nn.Unflatten(1, (channels, SIDE, SIDE))
    )
    return Autoencoder(channels, SIDE, (1, 1), encode, decode)


def networks(method: Any, build: Build, channels: int, seed: int = 0) -> Networks:
    """As a recipe has them built, in float64."""
    torch.manual_seed(seed)
    nets = method.networks(lambda section, **shape: build[section](**shape), {"image": channels})
    return {name: net.double() for name, net in nets.items()}


def asked(method: Any, build: Build, channels: int) -> dict[str, dict[str, Any]]:
    """What the method tells the builder of every section."""
    told: dict[str, dict[str, Any]] = {}

    def listening(section: str, **shape: Any) -> nn.Module:
        told[section] = shape
        return build[section](**shape)

    method.networks(listening, {"image": channels})
    return told


def points(start: int = 0) -> Iterator[dict[str, Tensor]]:
    """Batches by position: two numbers each, around (1, 0)."""
    while True:
        generator = torch.Generator().manual_seed(start)
        x = torch.randn(BATCH, 2, generator=generator, dtype=torch.float64)
        yield {"image": x * torch.tensor([0.5, 1.0]) + torch.tensor([1.0, 0.0])}
        start += 1


def pictures(start: int = 0) -> Iterator[dict[str, Tensor]]:
    """Batches by position: grey, in [-1, 1], darker to the left."""
    ramp = torch.linspace(-0.5, 0.5, SIDE, dtype=torch.float64)
    while True:
        generator = torch.Generator().manual_seed(start)
        shape = (BATCH, 1, SIDE, SIDE)
        yield {"image": torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5 + ramp}
        start += 1


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=5e-3, betas=(0.0, 0.9))


def rmsprop(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(parameters, lr=2e-3, alpha=0.99)


def trainer(
    method: Any, nets: Networks, maker: Maker = adam, steps: int = 100, **arguments: Any
) -> Trainer:
    optimizers = {u.name: maker(trainable(u, nets)) for u in method.updates}
    return Trainer(method, nets, optimizers, steps, lambda step, steps: 1.0, **arguments)


def train(training: Trainer, data: Iterator[Any], steps: int) -> list[dict[str, float]]:
    return [training.step(data) for _ in range(steps)]


def step_seeds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with what the trainer seeds each batch's treatment with."""
    seeds: list[int] = []
    seed_of = gan_core.trainer._seed

    def listening(*numbers: int) -> int:
        seeds.append(seed_of(*numbers))
        return seeds[-1]

    monkeypatch.setattr(gan_core.trainer, "_seed", listening)
    return seeds


def furthest(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max((p - q).abs().max().item() for p, q in pairs)


def check_trained_alike(ours: Networks, theirs: Networks, start: Networks) -> None:
    for name in ours:
        assert furthest(start[name], ours[name]) > 1e-3, f"{name} must have moved"
        assert furthest(ours[name], theirs[name]) < 1e-10, name


def routes(method: Any, nets: Networks, batch: Mapping[str, Tensor]) -> Any:
    """Measured; without numbers, as `translate explain` does, they are the same."""
    found = route_matrix(method, nets, batch)
    shapes = {name: x.to("meta") for name, x in batch.items()}
    without = {name: net.to("meta") for name, net in nets.items()}
    assert route_matrix(method, without, shapes) == found
    return found


def table(names: str, *rows: str) -> dict[str, dict[str, str]]:
    """Rows ``term | G D ...`` with T, >, and a dot for not touched; ``names`` of the columns."""
    words = {"T": "trains", ">": "passes through", ".": "not touched"}
    lines = [row.split("|") for row in rows]
    return {
        term.strip(): dict(zip(names.split(), (words[w] for w in cells.split()), strict=True))
        for term, cells in lines
    }


def same(a: Any, b: Any) -> bool:
    """Bit for bit, through nested containers."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def check_resumed_is_straight(
    make: Callable[[int], Trainer], data: Callable[[int], Iterator[Any]], steps: int = 6
) -> dict[str, Any]:
    """A run stopped halfway and read back is the run that was not; returns the method's state.

    make: a new trainer, with first weights of a seed
    """
    straight = make(0)
    logs = train(straight, data(0), steps)
    begun = make(0)
    train(begun, data(0), steps // 2)
    file = io.BytesIO()
    torch.save(begun.state_dict(), file)
    file.seek(0)
    resumed = make(1)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert same(resumed.method.state_dict(), begun.method.state_dict())
    assert train(resumed, data(resumed.counts["batches"]), steps - steps // 2) == logs[steps // 2 :]
    assert same(resumed.state_dict(), straight.state_dict())
    assert straight.counts["skipped"] == straight.counts["redone"] == 0
    return dict(straight.method.state_dict())


def check_noise_falls(method: Any) -> None:
    """The handicap is told where each step stands: of 0.4 at first three quarters are left."""
    method.schedule(at(250, steps=1000))
    still = torch.zeros(2, 30_000)
    for shown in method.handicap.show(still, still):
        assert shown.std().item() == pytest.approx(0.3, rel=0.02)


def at(step: int, steps: int = 10**6) -> Progress:
    return Progress(step, steps, images=step * BATCH)
