"""Model files of untrained systems, a moment's work each, with the headers that training writes;
and how pictures made by them are looked at.
"""

from pathlib import Path

import numpy as np
import tomlkit
import torch

from translate.data.image import read
from translate.recipe import resolve
from translate.training import build

CONVOLUTIONAL = {
    "networks.generator.kind": "dcgan",
    "networks.generator.latent": 8,
    "networks.generator.filters": 4,
    "networks.generator.init_gain": 0.3,
}
ENCODER = {
    "networks.encoder.kind": "dcgan-encoder",
    "networks.encoder.filters": 4,
    "networks.encoder.init_gain": 0.3,
}
SYSTEMS: dict[str, dict[str, object]] = {
    "gan": {
        **CONVOLUTIONAL,
        "networks.discriminator.kind": "dcgan-discriminator",
        "networks.discriminator.filters": 4,
    },
    "ebgan": {
        **CONVOLUTIONAL,
        "networks.discriminator.kind": "autoencoder",
        "networks.discriminator.latent": 6,
        "networks.discriminator.filters": 4,
        "networks.discriminator.init_gain": 0.3,
    },
    "began": {
        "networks.generator.kind": "began",
        "networks.generator.latent": 8,
        "networks.generator.filters": 4,
        "networks.discriminator.kind": "began-autoencoder",
        "networks.discriminator.latent": 6,
        "networks.discriminator.filters": 4,
    },
    "ogan": {**CONVOLUTIONAL, **ENCODER},
    "ogan mapping": {
        **CONVOLUTIONAL,
        **ENCODER,
        "method.code": "mapping",
        "networks.code.kind": "mapping",
        "networks.code.filters": 16,
    },
    "ogan matrix": {
        **CONVOLUTIONAL,
        **ENCODER,
        "method.code": "matrix",
        "networks.code.kind": "mapping",
        "networks.code.layers": 0,
    },
    "gan points": {
        "data.kind": "points",
        "data.points": 10,
        "networks.generator.kind": "mlp",
        "networks.generator.filters": 8,
        "networks.discriminator.kind": "mlp-discriminator",
        "networks.discriminator.filters": 8,
    },
}


def save_tiny(path: Path, system: str, pictures: Path | None = None, **keys: object) -> Path:
    """A model of 16 x 16 pictures such as those in a folder.

    system: a key of SYSTEMS, whose first word is the method; keys: recipe keys with __ for dots
    """
    given = SYSTEMS[system] | {name.replace("__", "."): value for name, value in keys.items()}
    if pictures is not None:
        given = {"data.images": str(pictures), "data.size": 16, "data.batch_size": 2} | given
    document = tomlkit.parse(f'[method]\nname = "{system.split()[0]}"\n[schedule]\nsteps = 1\n')
    recipe = resolve(document, [*given.items(), ("run.seed", 4), ("run.precision", "fp32")])
    run = build(recipe, torch.device("cpu"), lambda sentence: None)
    run.save_model(path)
    return path


def cells(path: Path) -> list[list[np.ndarray]]:
    """Pictures of 16 x 16 on a sheet, row by row."""
    sheet = read(path)
    tops, lefts = (range(0, side, 18) for side in sheet.shape[:2])
    return [[sheet[y : y + 16, x : x + 16] for x in lefts] for y in tops]


def near(seen: np.ndarray, expected: np.ndarray) -> bool:
    """But for the last rounding."""
    return seen.shape == expected.shape and int(np.abs(seen.astype(int) - expected).max()) <= 1
