"""Freezing, and the measured table of what each loss term does to each network."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_core.routing import Losses, Scene, Update, frozen, only_trains, route_matrix, trainable

Terms = Callable[[Mapping[str, nn.Module], Tensor], Losses]
TRAINS, THROUGH, NOTHING = "trains", "passes through", "not touched"


class Wiring:
    """A method of one update whose loss terms are given as a function of networks and batch."""

    averaged = ()

    def __init__(self, trains: tuple[str, ...], terms: Terms) -> None:
        self.updates = (Update("only", trains),)
        self.terms = terms

    def scene(self, nets: Mapping[str, nn.Module], batch: Mapping[str, Tensor]) -> Scene:
        return batch

    def losses(self, update: Update, nets: Mapping[str, nn.Module], scene: Scene) -> Losses:
        return self.terms(nets, scene["x"])


def networks(*names: str) -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({name: nn.Linear(3, 3) for name in names})


def routes(trains: tuple[str, ...], nets: nn.ModuleDict, terms: Terms) -> dict[str, Any]:
    matrix = route_matrix(Wiring(trains, terms), nets, {"x": torch.randn(4, 3)})  # type: ignore
    assert list(matrix) == ["only"]
    return dict(matrix["only"])


# ---- frozen, only_trains, trainable ------------------------------------------------------------


def test_gradient_passes_through_a_frozen_network() -> None:
    nets, x = networks("A", "B"), torch.randn(4, 3)
    nets["B"](nets["A"](x)).sum().backward()
    expected = nets["A"].weight.grad.clone()
    nets.zero_grad(set_to_none=True)
    with frozen(nets["B"]):
        made = nets["B"](nets["A"](x))
    made.sum().backward()  # after the context: what was recorded inside stays so
    assert torch.equal(nets["A"].weight.grad, expected)
    assert nets["B"].weight.grad is None
    assert all(p.requires_grad for p in nets.parameters())


def test_frozen_leaves_alone_what_was_frozen_before() -> None:
    net = nn.Linear(3, 3)
    net.bias.requires_grad_(False)
    with frozen(net):
        assert not net.weight.requires_grad
    assert net.weight.requires_grad
    assert not net.bias.requires_grad


def test_frozen_nests_and_takes_shared_weights() -> None:
    A, B = nn.Linear(3, 3), nn.Linear(3, 3)
    B.weight = A.weight
    with frozen(A, B):
        with frozen(A):
            assert not A.weight.requires_grad
        assert not A.weight.requires_grad, "the outer context still holds"
        assert not B.bias.requires_grad
    assert A.weight.requires_grad
    assert B.bias.requires_grad


def test_freezing_survives_exceptions() -> None:
    nets = networks("A", "B")
    with pytest.raises(ZeroDivisionError), frozen(nets["A"]):
        raise ZeroDivisionError
    assert all(p.requires_grad for p in nets.parameters())
    with pytest.raises(ZeroDivisionError), only_trains([Update("u", ("A",))], nets):
        raise ZeroDivisionError
    assert all(p.requires_grad for p in nets.parameters())


def test_only_trains_freezes_what_no_update_trains() -> None:
    nets = networks("A", "B", "C")
    updates = [Update("one", ("A",)), Update("two", ("C",))]
    for chosen, free in [(updates, "AC"), (updates[:1], "A"), ([], "")]:
        with only_trains(chosen, nets):
            for name, net in nets.items():
                assert all(p.requires_grad == (name in free) for p in net.parameters()), name
        assert all(p.requires_grad for p in nets.parameters())


def test_trainable_are_the_named_networks_free_parameters() -> None:
    nets = networks("A", "B", "C")
    nets["C"].bias.requires_grad_(False)
    found = trainable(Update("u", ("C", "A")), nets)
    assert [id(p) for p in found] == [id(nets["C"].weight), *map(id, nets["A"].parameters())]


def test_an_update_projects_nothing_unless_told() -> None:
    def project(parameters: list[Tensor]) -> None:
        raise AssertionError

    assert Update("u", ("A",)).project is None
    held = Update("u", ("A",), project)
    assert held != Update("u", ("A",))
    matrix = route_matrix(Held(held), networks("A"), {"x": torch.randn(4, 3)})  # type: ignore
    assert matrix == {"u": {"loss": {"A": TRAINS}}}, "measuring moves no weight"


class Held:
    averaged = ()

    def __init__(self, update: Update) -> None:
        self.updates = (update,)

    def scene(self, nets: Mapping[str, nn.Module], batch: Mapping[str, Tensor]) -> Scene:
        return batch

    def losses(self, update: Update, nets: Mapping[str, nn.Module], scene: Scene) -> Losses:
        return {"loss": nets["A"](scene["x"]).mean()}


# ---- route_matrix ------------------------------------------------------------------------------


def test_adversarial_routes() -> None:
    nets = networks("G", "D", "E")

    def terms(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        return {"deceive": nets["D"](nets["G"](x)).mean(), "size": nets["G"](x).square().mean()}

    assert routes(("G",), nets, terms) == {
        "deceive": {"G": TRAINS, "D": THROUGH, "E": NOTHING},
        "size": {"G": TRAINS, "D": NOTHING, "E": NOTHING},
    }
    assert routes(("D",), nets, terms) == {
        "deceive": {"G": NOTHING, "D": TRAINS, "E": NOTHING},
    }, "with G frozen, size is a figure"
    assert routes(("G", "D"), nets, terms)["deceive"] == {"G": TRAINS, "D": TRAINS, "E": NOTHING}


def test_detach_ends_a_route() -> None:
    def terms(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        return {"judge": nets["D"](nets["G"](x).detach()).mean()}

    assert routes(("G", "D"), networks("G", "D"), terms)["judge"] == {"G": NOTHING, "D": TRAINS}


def test_passing_through_is_not_being_passed_by() -> None:
    """Gradient that reaches a network's input around it, or ends in it, does not pass through."""

    def around(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        h = nets["G"](x)
        nets["N"](h)  # made, but in no term
        return {"around": h.mean()}

    def ends(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        return {"ends": (nets["N"](nets["G"](x).detach()) + nets["G"](x)).mean()}

    assert routes(("G",), networks("G", "N"), around)["around"] == {"G": TRAINS, "N": NOTHING}
    assert routes(("G",), networks("G", "N"), ends)["ends"] == {"G": TRAINS, "N": NOTHING}


def test_a_network_applied_twice() -> None:
    """One call of several is enough, but it must be one and the same that takes and gives."""

    def real_and_fake(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        return {"term": (nets["D"](x) - nets["D"](nets["G"](x))).mean()}

    def two_halves(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        h = nets["G"](x)
        nets["D"](h)  # gradient reaches this call's input, by another way than through it
        return {"term": nets["D"](h.detach()).mean() + h.mean()}

    def chain(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        return {"term": nets["D"](nets["D"](nets["G"](x))).mean()}

    for order in ("GD", "DG"):
        nets = networks(*order)
        assert routes(("G",), nets, real_and_fake)["term"] == {"G": TRAINS, "D": THROUGH}
        assert routes(("G",), nets, two_halves)["term"] == {"G": TRAINS, "D": NOTHING}
        assert routes(("G",), nets, chain)["term"] == {"G": TRAINS, "D": THROUGH}


class Two(nn.Module):
    """Judges a picture by another; gives a score and a guess."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.guess = nn.Linear(6, 1), nn.Linear(3, 2)

    def forward(self, x: Tensor, other: Tensor, flag: bool = True) -> tuple[Tensor, Tensor]:
        return self.score(torch.cat([x, other], 1)), self.guess(x)


def test_networks_of_several_inputs_and_outputs() -> None:
    nets = networks("G")
    nets["D"] = Two()

    def terms(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        first, second = nets["D"](nets["G"](x), x), nets["D"](x, nets["G"](x), flag=False)
        named = nets["D"](x, other=nets["G"](x))
        pairs = {"first": first, "second": second, "named": named}
        scores = {f"{name} score": pair[0].mean() for name, pair in pairs.items()}
        return scores | {f"{name} guess": pair[1].mean() for name, pair in pairs.items()}

    through = {"G": TRAINS, "D": THROUGH}
    assert routes(("G",), nets, terms) == {
        "first score": through,
        "second score": through,
        "named score": through,
        "first guess": through,
    }, "guesses do not look at the other picture"


def test_one_generator_trained_and_passed_through_by_the_same_term() -> None:
    """CycleGAN's "first" routing when one network is both the first and the second."""

    def first(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        h = nets["G"](x)
        with frozen(nets["G"]):
            return {"inside": nets["G"](x).mean() * 1, "cycle": nets["G"](h).mean()}

    assert routes(("G",), networks("G"), first) == {"cycle": {"G": TRAINS}}


def test_zero_gradient_is_still_a_route() -> None:
    """A gate that begins at zero is trained, though its first gradients are nought."""

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.gain = nn.Linear(3, 3), nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.gain * self.inner(x)

    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0

    nets = networks("G")
    nets["N"], nets["Z"] = Gate(), Flat()

    def terms(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        return {"term": nets["Z"](nets["N"](nets["G"](x))).mean()}

    assert routes(("G", "N"), nets, terms)["term"] == {"G": TRAINS, "N": TRAINS, "Z": THROUGH}
    assert routes(("G",), nets, terms)["term"] == {"G": TRAINS, "N": THROUGH, "Z": THROUGH}


def test_figures_have_no_route() -> None:
    """What has no gradient is no loss; what has one, if only a constant's, stays in the table."""

    def terms(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        made, free = nets["G"](x), torch.zeros((), requires_grad=True)
        with torch.no_grad():
            figures = {"constant": x.mean(), "target": nets["G"](x).mean()}
        return figures | {"detached": made.detach().mean(), "loss": made.mean(), "free": free * 2}

    assert routes(("G",), networks("G"), terms) == {"loss": {"G": TRAINS}, "free": {"G": NOTHING}}


def test_an_update_of_figures_alone_is_an_empty_row() -> None:
    def terms(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        return {"made": nets["G"](x).mean()}

    assert routes(("D",), networks("G", "D"), terms) == {}


def test_measuring_cleans_up_after_an_exception() -> None:
    nets = networks("G", "D")

    def terms(nets: Mapping[str, nn.Module], x: Tensor) -> Losses:
        nets["G"](x)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        routes(("G",), nets, terms)
    assert not any(net._forward_hooks or net._forward_pre_hooks for net in nets.values())
    assert all(p.requires_grad for p in nets.parameters())


def test_measuring_writes_no_gradient() -> None:
    nets = networks("G", "D")
    routes(("G", "D"), nets, lambda nets, x: {"term": nets["D"](nets["G"](x)).mean()})
    assert all(p.grad is None for p in nets.parameters())
