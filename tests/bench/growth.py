"""Growing against the same network trained from the start, and a fade against none, in one command.

    python tests/bench/growth.py DATA WORK [--size 64] [--channels 1] [--phase 6000] [--final 18000]

DATA is a folder of pictures. WORK is a new folder that everything is written to. Three runs of
faces-progressive-small see equally many pictures: "growing" fades each resolution in for as many
images as --phase says and then stabilises it for as many; "abrupt" stabilises it for both; "whole"
has the final resolution from the start. Pictures are not mirrored, and the average network's are
held against 200 of them by sliced Wasserstein distance x 1e3, at full size also while they grow.

    swd, minutes     at the end; minutes of training, without what judging took
    in_equal_time    of whole: the distance when as many minutes had passed as growing took
    doublings        resolution -> distance before it, and the largest in the --after steps from it
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

from common import report, translate

from translate.recipe import resolve
from translate.recipe_file import read


def logged(run: Path) -> tuple[dict[int, float], dict[int, float]]:
    """Step -> distance, and step -> minutes until then."""
    distances, minutes, before, rate = {}, {0: 0.0}, 0, 0.0
    for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()):
        if "images" in line:
            # The line after a judgement counts its time, so it takes the rate of the line before.
            judged = max(minutes) in distances
            rate = rate if judged else line["images_per_second"]
            passed = (line["images"] - before) / rate / 60
            minutes[line["step"]] = [*minutes.values()][-1] + passed
            before = line["images"]
        else:
            (distances[line["step"]],) = (v for name, v in line.items() if name != "step")
    return distances, minutes


def doublings(run: Path, after: int) -> dict[int, dict[str, float]]:
    growth = resolve(read(str(run / "recipe.toml")), []).make_growth()
    assert growth
    distances, _ = logged(run)
    found = {}
    for (_, images), (step, later) in pairwise(growth.begins[:-1]):
        resolution = growth.stage(later).resolution
        if resolution != growth.stage(images).resolution:
            before = max(s for s in distances if s <= step)
            within = [d for s, d in distances.items() if step < s <= step + after]
            found[resolution] = {"before": distances[before], "after": max(within)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--phase", type=int, default=6000)
    parser.add_argument("--final", type=int, default=18000)
    parser.add_argument("--after", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    levels = asked.size.bit_length() - 3  # after the first
    total = 2 * asked.phase * (levels + 1) - asked.phase + asked.final
    ways = {
        "growing": {"stabilise": asked.phase, "fade": asked.phase, "final": asked.final},
        "abrupt": {
            **{"stabilise": 2 * asked.phase, "fade": 0},
            "final": asked.phase + asked.final,
        },
        "whole": {"start": asked.size, "fade": 0, "final": total},
    }
    figures: dict[str, object] = {"asked": {k: str(v) for k, v in vars(asked).items()}}
    times: dict[str, dict[int, float]] = {}
    for way, keys in ways.items():
        run = asked.work / way
        changes = {f"growth.{key}": value for key, value in keys.items()}
        changes |= {"growth.order": "fade", "data.flip": "false", "run.judged": 200}
        changes |= {"data.channels": asked.channels, "run.sample_every": 25, "run.log_every": 5}
        if not (run / "model.safetensors").is_file():  # runs may be made side by side beforehand
            translate(
                *("train", "gan", "--recipe", "faces-progressive-small", "--images", asked.data),
                *("--size", asked.size, "--seed", asked.seed, "--out", run),
                *(word for item in changes.items() for word in ("--set", "=".join(map(str, item)))),
                *(word for change in asked.set for word in ("--set", change)),
            )
        distances, times[way] = logged(run)
        last = max(distances)
        row: dict[str, object] = {"swd": distances[last], "minutes": times[way][last]}
        if way == "whole":
            budget = [*times["growing"].values()][-1]
            then = max(s for s in distances if times[way][s] <= budget)
            row["in_equal_time"] = distances[then]
        else:
            row["doublings"] = doublings(run, asked.after)
        figures[way] = row
    report(asked.work, figures)


if __name__ == "__main__":
    main()
