"""Clipped weights against a gradient penalty on points in the plane, in one command.

    python tests/bench/toys.py WORK [--distributions 25gaussians ...] [--seeds 0 ...] [--set K=V]

WORK is a new folder that everything is written to. For each distribution a critic with a penalty
(recipe <distribution>-wgan-gp) and one with clipped weights (<distribution>-wgan) are trained for
equally many steps, with the changes that stand after --set, and judged on 2,500 made points.

    modes        centres that have a tenth of an equal share of the points or more within 3 sigma
    quality      share of the points within 3 sigma of a centre (real ones: 0.989)
    wasserstein  sliced Wasserstein-1 distance to as many real points, in the points' unit
    slopes       norm of the gradient of D's loss by each layer's weights, from the first on
"""

import argparse
import json
from pathlib import Path

import torch
from common import report, translate

from translate.data.points import DISTRIBUTIONS
from translate.device import find_device
from translate.recipe import resolve
from translate.recipe_file import read
from translate.training import build, folder_of, restore


def slopes(run: Path) -> list[float]:
    """Norm of the gradient of D's loss by each layer's weight, on one batch."""
    recipe = resolve(read(str(run / "recipe.toml")), [])
    made = build(recipe, find_device("cpu"), print)
    restore(made, folder_of(made, run), print)
    nets, method = made.trainer.nets, made.method
    batch = made.data[0].batch
    terms = method.losses(method.updates[0], nets, method.scene(nets, batch))
    weights = [p for p in nets["D"].parameters() if p.ndim == 2]
    grads = torch.autograd.grad(torch.stack(list(terms.values())).sum(), weights)
    return [float(g.norm()) for g in grads]


def last_figures(run: Path, distribution: str) -> dict[str, float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    judged = [line for line in lines if f"wasserstein {distribution}" in line][-1]
    return {key.split()[0]: value for key, value in judged.items() if key != "step"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--distributions", nargs="+", default=list(DISTRIBUTIONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    changes = [word for change in asked.set for word in ("--set", change)]
    figures: dict[str, object] = {"changes": asked.set, "seeds": asked.seeds}
    for distribution in asked.distributions:
        for recipe in (f"{distribution}-wgan-gp", f"{distribution}-wgan"):
            rows = []
            for seed in asked.seeds:
                run = asked.work / f"{recipe}-{seed}"
                translate(
                    "train", "gan", "--recipe", recipe, "--seed", seed, "--out", run, *changes
                )
                rows.append(last_figures(run, distribution) | {"slopes": slopes(run)})
            figures[recipe] = rows
    report(asked.work, figures)


if __name__ == "__main__":
    main()
