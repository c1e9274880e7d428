"""Whether an information term keeps a plain GAN from collapsing, in one command.

    python tests/bench/collapse.py WORK [--distributions 25gaussians ...] [--seeds 0 1 2 3 4]

WORK is a new folder that everything is written to. On points in the plane a plain GAN (vanilla
loss, no penalty, one critic step) whose last two latents are uniform codes is trained with an
information term of weight 1, and with one of weight 0: else the two are the same, and begin with
the same weights.

    modes    centres that have a tenth of an equal share of the made points or more within 3 sigma,
             at the end and at the fewest in the second half of the run
    quality  share of the made points within 3 sigma of a centre
"""

import argparse
import json
from pathlib import Path
from typing import Any

from common import report, translate

PLAIN = {
    "method.loss": "vanilla",
    "method.penalty": "none",
    "method.discriminator_steps": 1,
    "method.prior": "uniform",
    "method.continuous": 2,
    "networks.generator.latent": 8,
    "networks.generator.filters": 128,
    "networks.discriminator.filters": 128,
    "networks.codes.kind": "code-head",
    "optimizer.lr": 1e-3,
    "run.sample_every": 250,
}


def judged(run: Path, distribution: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if f"modes {distribution}" in line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--distributions", nargs="+", default=["25gaussians", "8gaussians"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=4000)
    asked = parser.parse_args()
    figures: dict[str, object] = {"seeds": asked.seeds, "steps": asked.steps, "changes": PLAIN}
    for distribution in asked.distributions:
        for weight in (1.0, 0.0):
            rows: list[dict[str, Any]] = []
            for seed in asked.seeds:
                run = asked.work / f"{distribution}-{weight}-{seed}"
                keys = PLAIN | {"method.lambda_continuous": weight}
                translate(
                    *("train", "gan", "--recipe", f"{distribution}-wgan-gp", "--out", run),
                    *("--steps", asked.steps, "--seed", seed),
                    *(word for key, value in keys.items() for word in ("--set", f"{key}={value}")),
                )
                lines = judged(run, distribution)
                modes = [int(line[f"modes {distribution}"]) for line in lines]
                quality = lines[-1][f"quality {distribution}"]
                fewest = min(modes[len(modes) // 2 :])
                rows.append({"modes": modes[-1], "fewest": fewest, "quality": quality})
            figures[f"{distribution}, weight {weight}"] = rows
    report(asked.work, figures)


if __name__ == "__main__":
    main()
