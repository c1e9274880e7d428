"""Two processes under torchrun against one, from the recipe's data set to the weights."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_core.checkpoint import load_model
from translate.methods import METHODS

# What compares the samples of a batch, or draws numbers for each process, cannot be equal.
SETTINGS = {
    "networks.generator.norm": "instance",
    "networks.generator.dropout": False,
    "networks.generator.filters": 4,
    "networks.generator.blocks": 1,
    "networks.generator.latent": 8,
    "networks.discriminator.norm": "instance",
    "networks.discriminator.filters": 4,
    "networks.discriminator.layers": 1,
    "method.pool_size": 0,
    "method.loss": "wgan",
    "method.penalty": "two-sided",
    "data.size": 16,
    "data.batch_size": 4,
    "schedule.steps": 4,
    "run.device": "cpu",
    "run.precision": "fp32",
}

SCRIPT = """
import json, sys
import torch
from gan_core import distributed
from translate.data.loader import Batches
from translate.recipe import resolve
from translate.recipe_file import default_recipe
from translate.training import build

asked = json.loads(sys.argv[1])
with distributed.start(torch.device("cpu")):
    for method, settings in asked["methods"].items():
        recipe = resolve(default_recipe(method), list(settings.items()), method)
        made = build(recipe, torch.device("cpu"), print)
        trainer = made.trainer
        for net in [*trainer.nets.values(), *trainer.average.nets.values()]:
            net.double()
        batches = ({k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
                   for batch in Batches(made.data, 0, torch.device("cpu"), workers=0))
        while trainer.counts["step"] < 4:
            trainer.step(batches)
        state = {name: net.state_dict() for name, net in trainer.nets.items()}
        target = f"{asked['out']}/{method}-{distributed.world()}-{distributed.rank()}.pt"
        torch.save({"nets": state, "counts": trainer.counts}, target)
"""


def torchrun(*words: object) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--master-port", str(port), *map(str, words)),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_two_processes_equal_one_in_float64(
    tmp_path: Path, data_of: Callable[..., tuple[object, ...]]
) -> None:
    methods: dict[str, dict[str, Any]] = {}
    for method in METHODS:
        option, *folders = map(str, data_of(method, tmp_path / method))
        data = {f"data.{option[2:]}": folders if len(folders) > 1 else folders[0]}
        known = _known_keys(method)
        methods[method] = data | {k: v for k, v in SETTINGS.items() if k in known}
    (tmp_path / "script.py").write_text(SCRIPT)
    asked = json.dumps({"methods": methods, "out": str(tmp_path)})
    one = [sys.executable, str(tmp_path / "script.py"), asked]
    subprocess.run(one, check=True, timeout=300)
    told = torchrun(tmp_path / "script.py", asked)
    assert told.returncode == 0, told.stderr
    for method in METHODS:
        alone, first, second = (
            torch.load(tmp_path / f"{method}-{which}.pt") for which in ("1-0", "2-0", "2-1")
        )
        assert alone["counts"] == first["counts"] == second["counts"]
        assert alone["counts"]["images"] == 16
        for name, weights in alone["nets"].items():
            for key, value in weights.items():
                torch.testing.assert_close(
                    first["nets"][name][key], value, rtol=1e-9, atol=1e-10, msg=f"{method} {key}"
                )
                assert torch.equal(first["nets"][name][key], second["nets"][name][key])


def _known_keys(method: str) -> set[str]:
    from translate.recipe import flat, resolve
    from translate.recipe_file import default_recipe

    return set(flat(resolve(default_recipe(method), [], method).values))


@pytest.mark.slow
def test_the_command_under_torchrun(
    tmp_path: Path, data_of: Callable[..., tuple[object, ...]], command: Callable[..., Any]
) -> None:
    """One process writes; what the processes' histories tell apart is not given to others."""
    run = tmp_path / "run"
    small = [f"--set={key}={json.dumps(value)}" for key, value in SETTINGS.items()]
    small = [word for word in small if not any(k in word for k in ("blocks", "latent", "steps"))]
    words = ("-m", "translate", "train", "pix2pix")
    begun = torchrun(*words, *data_of("pix2pix", tmp_path), "--out", run, *small, "--steps", 2)
    assert begun.returncode == 0, begun.stderr
    assert begun.stdout == f"{run / 'model.safetensors'}\n"
    again = torchrun(*words, "--resume", run, "--steps", 3)
    assert again.returncode == 0, again.stderr
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["images"]) for line in lines] == [(2, 8), (3, 12)]
    assert load_model(run / "model.safetensors")[1]["method"] == "pix2pix"
    refused = torchrun(*words, *data_of("pix2pix", tmp_path), "--out", run, *small)
    assert refused.returncode != 0
    assert f"error: {run} exists" in refused.stderr
    assert "RuntimeError" not in refused.stderr
    assert command("train", "pix2pix", "--resume", run, "--steps", 4).code == 0
    pool = ("--set=method.pool_size=4", "--steps", 2)
    data, other = data_of("pix2pix", tmp_path / "more"), tmp_path / "other"
    assert torchrun(*words, *data, "--out", other, *small, *pool).returncode == 0
    alone = command("train", "pix2pix", "--resume", other, "--steps", 4)
    assert alone.code == 2
    assert "a run of 2 processes, not 1" in alone.err
