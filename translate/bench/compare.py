"""One way of doing something against others, each in a process of its own, in turns."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from translate.bench.lane import Lane, Work
from translate.bench.rounds import alternate, faster, share, spread, steps_for, warm_up

Make = Callable[[], Work]
Facts = Mapping[str, Any]
Watch = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


@dataclass(frozen=True)
class Effort:
    """rounds: of turns; seconds: that a turn lasts about; steps: that it has, instead."""

    rounds: int = 5
    seconds: float = 3.0
    steps: int | None = None


def compare(
    title: str,
    ours: Make,
    rivals: Callable[[Facts], Mapping[str, Make]],
    limit: tuple[float, Callable[[Facts], Make]] | None,
    effort: Effort,
    watch: Watch,
) -> dict[str, Any]:
    """The measurement as plain data.

    rivals: made of the facts that ours tells.
    limit: how many operations a picture needs, and, of those facts, work whose own facts say how
        many "operations" its step has and "what" they are: the fastest that there is. Its rate is
        measured in turns with the others.
    """
    with watch(title, effort.rounds) as done, ExitStack() as stack:
        lanes: dict[str, Lane] = {}
        steps: dict[str, int] = {}

        def enter(name: str, make: Make, steps_given: int | None) -> None:
            lanes[name] = stack.enter_context(Lane(f"{title}, {name}", make))
            last = warm_up(lanes[name].turn, seconds=min(1.0, effort.seconds))
            steps[name] = steps_given or steps_for(effort.seconds, last)

        enter("ours", ours, effort.steps)
        for name, make in rivals(lanes["ours"].facts).items():
            enter(name, make, effort.steps)
        sides = list(lanes)
        if limit:
            enter("limit", limit[1](lanes["ours"].facts), None)
        turns = {name: lane.turn for name, lane in lanes.items()}
        seconds = alternate(turns, steps, effort.rounds, done)
    per_image = {name: [s / lanes[name].images for s in seconds[name]] for name in sides}
    result: dict[str, Any] = {
        "sides": {name: _side(lanes[name], steps[name], seconds[name]) for name in sides},
        "faster": {name: asdict(faster(per_image["ours"], per_image[name])) for name in sides[1:]},
    }
    if limit:
        facts = lanes["limit"].facts
        rates = [facts["operations"] / s for s in seconds["limit"]]
        result["limit"] = {
            "what": facts["what"],
            "operations_per_second": rates,
            "operations_per_image": limit[0],
            "share": {n: asdict(share(limit[0], s, rates)) for n, s in per_image.items()},
        }
    return result


def _side(lane: Lane, steps: int, seconds: Sequence[float]) -> dict[str, Any]:
    return {
        "images_per_step": lane.images,
        "steps_per_round": steps,
        "seconds_per_step": list(seconds),
        "step": asdict(spread(seconds)),
        "images_per_second": asdict(spread([lane.images / s for s in seconds])),
        "peak_memory": lane.peak_memory,
        "memory_before": lane.memory_before,
        "facts": lane.facts,
    }
