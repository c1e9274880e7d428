"""O-GAN's encoder on faces that it has not seen, from data to judgement, in one command.

    python tests/bench/ogan.py DATA WORK [--recipe faces-ogan-small] [--steps N] [--set KEY=VALUE]

DATA holds the ORL faces, s<person>_<number>.pgm. WORK is a new folder that everything is written
to. The model is trained without one face of each person, ``--held-out`` of the ten; those are
then encoded and decoded again.

    own       how many of the 40 reconstructions lie nearest to the held-out face that they are of
    chance    one
    l1        mean error of the reconstructions of faces held out and of faces trained on, black to
              white being 1, and of the mean face in their place
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from common import nearest, report, translate

from translate.data.image import find, read, with_channels
from translate.data.preparation import Preparation
from translate.recipe import resolve
from translate.recipe_file import read as read_recipe


def load(folder: Path, prepare: Preparation | None = None) -> np.ndarray:
    """Pictures [N, H, W, 1] in 0..1, as training prepares them to be judged, or as they are."""
    images = [with_channels(read(path), 1) for path in find(folder)]
    return np.stack([prepare(i, None) if prepare else i for i in images]) / 255.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--recipe", default="faces-ogan-small")
    parser.add_argument("--held-out", default="10")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    seen, unseen = asked.work / "seen", asked.work / "unseen"
    for path in find(asked.data):
        kept_back = path.stem.split("_")[1] == asked.held_out
        target = unseen if kept_back else seen
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    run = asked.work / "run"
    changes = [word for change in asked.set for word in ("--set", change)]
    length = ("--steps", asked.steps) if asked.steps else ()
    translate(
        *("train", "gan", "--recipe", asked.recipe, "--images", seen, "--out", run, *length),
        *("--seed", asked.seed, "--set", "data.channels=1", *changes),
    )
    data = resolve(read_recipe(str(run / "recipe.toml")), []).values["data"]
    prepare = Preparation(size=data["size"], load_ratio=data["load_ratio"])
    faces = {"unseen": load(unseen, prepare), "seen": load(seen, prepare)}
    rebuilt = {}
    for name, folder in (("unseen", unseen), ("seen", seen)):
        translate("reconstruct", run, folder, "--out", asked.work / f"{name}-rebuilt")
        rebuilt[name] = load(asked.work / f"{name}-rebuilt")
    own = nearest(rebuilt["unseen"], faces["unseen"]) == np.arange(len(faces["unseen"]))
    mean = np.abs(faces["unseen"] - faces["seen"].mean(0)).mean()
    report(
        asked.work,
        {
            "recipe": asked.recipe,
            "changes": asked.set,
            "seed": asked.seed,
            "own": int(own.sum()),
            "of": len(own),
            "l1": {
                **{name: float(np.abs(rebuilt[name] - faces[name]).mean()) for name in faces},
                "mean face": float(mean),
            },
        },
    )


if __name__ == "__main__":
    main()
