"""Two processes under torchrun against one, from the recipe's data set to the weights."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starts import GROWING, SYSTEMS, System

from gan_core.checkpoint import load_model
from translate.recipe import flat, resolve
from translate.recipe_file import read

Given = Callable[..., dict[str, Any]]

SMALL = {
    "networks.generator.filters": 4,
    "networks.generator.blocks": 1,
    "networks.generator.latent": 8,
    "networks.discriminator.filters": 4,
    "networks.discriminator.layers": 1,
    "networks.discriminator.latent": 8,
    "networks.encoder.filters": 4,
    "method.margin": 20.0,
    "data.size": 16,
    "data.points": 40,
    "data.length": 8,
    "data.batch_size": 4,
    "growth.stabilise": 6,
    "growth.fade": 9,
    "growth.final": 10,
    "growth.batch_sizes": [4],
    "networks.generator.base": 32,
    "networks.discriminator.base": 32,
    "schedule.steps": 4,
    "run.device": "cpu",
    "run.precision": "fp32",
}
# What compares the samples of a batch, or draws numbers for each process, cannot be equal.
BY_SAMPLE = {
    **SMALL,
    "networks.generator.norm": "instance",
    "networks.generator.dropout": False,
    "networks.discriminator.norm": "instance",
    "networks.discriminator.statistics": "none",
    "networks.encoder.norm": "instance",
    "method.pool_size": 0,
    "method.lambda_pull": 0.0,
    "method.loss": "hinge",
    "method.penalty": "two-sided",
    "method.discriminator_steps": 2,
    "method.noise": 0.2,
    "method.augment": ["colour", "translation", "cutout"],
    "method.augment_target": 0.1,
    "method.augment_images": 50,
    "method.balance": 0.6,
    "method.balance_window": 2,
    "method.lambda_k": 0.1,
    "optimizer.eps": 1e-6,  # a bias before an instance norm has no gradient but rounding
}
OWN = {
    "ogan": {"method.penalty": "quadratic"},  # of pairs, each in one process
    "gan-growing-networks": {"networks.generator.norm": "pixel"},
    "gan-points": {"method.augment": [], "method.augment_target": 0.0},
    "gan-text": {"method.augment": [], "method.augment_target": 0.0},
}
WITHOUT_SCORES = {"method.augment_target", "method.balance"}

SCRIPT = """
import json, sys
import torch
from torch import nn
from gan_core import distributed
from translate.data.loader import Batches
from translate.recipe import resolve
from translate.recipe_file import read
from translate.training import build

CPU = torch.device("cpu")

def keep(made, seen):
    # What the first call with codes gave, and the first batch norm, took and gave.
    def codes(net, args, out):
        if isinstance(out, tuple):
            seen.setdefault("codes", out[1].detach())
    def norms(net, args, out):
        state = {k: v.clone() for k, v in net.state_dict().items()}
        seen.setdefault("norm", (args[0].detach(), out.detach().clone(), state))
    for net in made.trainer.nets.values():
        net.register_forward_hook(codes)
    for net in made.trainer.nets["G"].modules():
        if isinstance(net, nn.BatchNorm2d):
            net.register_forward_hook(norms)
            break

asked = json.loads(sys.argv[1])
with distributed.start(CPU):
    for name, run in asked["runs"].items():
        recipe = resolve(read(run["recipe"]), list(run["settings"].items()))
        made = build(recipe, CPU, print)
        trainer, logs, seen = made.trainer, [], {}
        if run["double"]:
            for net in [*trainer.nets.values(), *trainer.average.nets.values()]:
                net.double()
        start = {n: {k: v.clone() for k, v in net.state_dict().items()}
                 for n, net in trainer.nets.items()}
        keep(made, seen)
        kind = torch.float64 if run["double"] else torch.float32
        batches = ({k: v.to(kind) if v.is_floating_point() else v for k, v in batch.items()}
                   for batch in Batches(made.data, 0, CPU, workers=0))
        while trainer.counts["step"] < 4:
            logs.append(trainer.step(batches))
        nets = {n: net.state_dict() for n, net in trainer.nets.items()}
        owned = {n: [k for k, _ in net.named_parameters()] for n, net in trainer.nets.items()}
        target = f"{asked['out']}/{name}-{distributed.world()}-{distributed.rank()}.pt"
        torch.save({"nets": nets, "start": start, "owned": owned, "counts": trainer.counts,
                    "logs": logs, "seen": seen, "method": made.method.state_dict()}, target)
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
        timeout=600,
    )


def settings(system: System, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Those that the system's recipe has keys for."""
    known = flat(resolve(read(system.recipe), []).values)
    left_out = set() if "method.loss" in known else WITHOUT_SCORES
    offered = {k: v for k, v in (asked | OWN.get(str(system), {})).items() if k in known}
    found = {k: v for k, v in offered.items() if k not in left_out}
    if system.kind == "points":
        found.pop("networks.discriminator.norm", None)  # they have no places to take a norm over
    return found


@pytest.fixture
def given(tmp_path: Path, data_of: Callable[..., tuple[object, ...]]) -> Given:
    """A system's recipe with the folders of its data, and these settings, for the script."""

    def run(system: System, asked: Mapping[str, Any], double: bool = True) -> dict[str, Any]:
        option, *folders = [*map(str, data_of(system.recipe, tmp_path / str(system)))] or [""]
        data = {f"data.{option[2:]}": folders if len(folders) > 1 else folders[0]} if option else {}
        changes = data | settings(system, asked)
        return {"recipe": system.recipe, "settings": changes, "double": double}

    return run


def trained(folder: Path, runs: dict[str, Any], processes: int) -> dict[str, list[dict[str, Any]]]:
    """What each process of each run came to."""
    (folder / "script.py").write_text(SCRIPT)
    asked = json.dumps({"runs": runs, "out": str(folder)})
    if processes == 1:
        alone = [sys.executable, str(folder / "script.py"), asked]
        told = subprocess.run(alone, capture_output=True, text=True, timeout=600)
    else:
        told = torchrun(folder / "script.py", asked)
    assert told.returncode == 0, told.stderr
    ranks = range(processes)
    return {
        name: [torch.load(folder / f"{name}-{processes}-{rank}.pt") for rank in ranks]
        for name in runs
    }


@pytest.mark.slow
def test_two_processes_equal_one_in_float64(tmp_path: Path, given: Given) -> None:
    runs = {str(system): given(system, BY_SAMPLE) for system in [*SYSTEMS, *GROWING]}
    alone, both = (trained(tmp_path, runs, processes) for processes in (1, 2))
    for name, run in runs.items():
        (one,), (first, second) = alone[name], both[name]
        assert one["counts"] == first["counts"] == second["counts"]
        passes = run["settings"].get("method.discriminator_steps", 1)
        assert one["counts"]["images"] == 16 * passes
        assert one["counts"]["redone"] == one["counts"]["skipped"] == 0
        for net, weights in one["nets"].items():
            for key, value in weights.items():
                torch.testing.assert_close(
                    first["nets"][net][key], value, rtol=1e-9, atol=1e-10, msg=f"{name} {key}"
                )
                assert torch.equal(first["nets"][net][key], second["nets"][net][key])
        assert first["method"] == second["method"], "all decide alike"
        torch.testing.assert_close(one["method"], first["method"], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_processes_stay_equal_where_terms_are_of_each_ones_samples(
    tmp_path: Path, given: Given
) -> None:
    """Batch norm and the pulling-away term compare the samples of one process: of two, gradients
    are the means.
    """
    asked = {**SMALL, "networks.generator.norm": "batch", "networks.encoder.norm": "batch"}
    runs = {
        f"{system} {precision}": given(system, {**asked, "run.precision": precision}, double=False)
        for system in [*SYSTEMS, *GROWING]
        for precision in ("fp32", "bf16")
    }
    for name, (first, second) in trained(tmp_path, runs, 2).items():
        assert first["counts"] == second["counts"]
        assert first["counts"]["redone"] == first["counts"]["skipped"] == 0
        assert first["logs"] == second["logs"]
        for net, keys in first["owned"].items():
            for key in keys:
                mine, others = (of["nets"][net][key] for of in (first, second))
                assert torch.equal(mine, others), (name, net, key)
            moved = [
                k for k in keys if not torch.equal(first["start"][net][k], first["nets"][net][k])
            ]
            assert len(moved) > len(keys) / 2, (name, net)


@pytest.mark.slow
def test_terms_of_a_batch_are_of_each_processs_own_part(tmp_path: Path, given: Given) -> None:
    (ebgan,) = [system for system in SYSTEMS if system.method == "ebgan"]
    runs = {"ebgan": given(ebgan, {**SMALL, "method.lambda_pull": 0.5})}
    ranks = trained(tmp_path, runs, 2)["ebgan"]
    codes = [of["seen"]["codes"].numpy() for of in ranks]
    told = ranks[0]["logs"][0]["pulling away G"]
    assert told == pytest.approx(0.5 * np.mean([pulling_away(c) for c in codes]), rel=1e-9)
    assert abs(told - 0.5 * pulling_away(np.concatenate(codes))) > 1e-3
    for of in ranks:
        taken, gave, state = of["seen"]["norm"]
        x, gain, bias = (v.numpy() for v in (taken, state["weight"], state["bias"]))
        mean, variance = (f((0, 2, 3), keepdims=True) for f in (x.mean, x.var))
        scaled = (x - mean) / np.sqrt(variance + 1e-5)
        expected = gain[:, None, None] * scaled + bias[:, None, None]
        np.testing.assert_allclose(gave.numpy(), expected, atol=1e-9)


def pulling_away(codes: np.ndarray) -> float:
    """Zhao et al. 2017, section 2.4: the mean squared cosine of every two different codes."""
    pairs = [(i, j) for i in range(len(codes)) for j in range(len(codes)) if i != j]
    length = np.linalg.norm(codes, axis=1)
    return float(np.mean([(codes[i] @ codes[j] / length[i] / length[j]) ** 2 for i, j in pairs]))


@pytest.mark.slow
def test_the_command_under_torchrun(
    tmp_path: Path, data_of: Callable[..., tuple[object, ...]], command: Callable[..., Any]
) -> None:
    """One process writes; what the processes' histories tell apart is not given to others."""
    run = tmp_path / "run"
    (system,) = [system for system in SYSTEMS if system.method == "pix2pix"]
    asked = settings(system, BY_SAMPLE) | {"data.size": 16}
    small = [f"--set={key}={json.dumps(value)}" for key, value in asked.items()]
    small = [word for word in small if "steps" not in word]
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


@pytest.mark.slow
def test_two_processes_stopped_and_resumed_are_the_two_that_were_not(
    tmp_path: Path, data_of: Callable[..., tuple[object, ...]]
) -> None:
    """With what is decided between steps, and one model that judged best."""
    (system,) = [system for system in SYSTEMS if str(system) == "gan"]
    asked = settings(system, {**BY_SAMPLE, "networks.generator.norm": "batch"})
    # Nothing that follows the length of the run, which is told to be a shorter one at first.
    asked |= {"schedule.kind": "constant", "method.noise": 0.0}
    asked |= {"run.sample_every": 2, "run.log_every": 1}
    small = [f"--set={k}={json.dumps(v)}" for k, v in asked.items() if k != "schedule.steps"]
    words = ("-m", "translate", "train", "gan")
    data = data_of(system.recipe, tmp_path)
    for out, steps in (("whole", 6), ("run", 3)):
        given = (*words, "--recipe", system.recipe, *data, *small, "--steps", steps)
        begun = torchrun(*given, "--out", tmp_path / out)
        assert begun.returncode == 0, begun.stderr
    again = torchrun(*words, "--resume", tmp_path / "run", "--steps", 6)
    assert again.returncode == 0, again.stderr
    results = []
    for out in ("whole", "run"):
        logged = (tmp_path / out / "log.jsonl").read_text().splitlines()
        beside = ("images_per_second", "memory_mb")
        lines = [{k: v for k, v in json.loads(x).items() if k not in beside} for x in logged]
        results.append([line for line in lines if "images" in line])
    assert results[0] == results[1]
    assert [line["step"] for line in results[0]] == [1, 2, 3, 4, 5, 6]
    models = [load_model(tmp_path / out / "model.safetensors")[0] for out in ("whole", "run")]
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])
    for out in ("whole", "run"):
        assert (tmp_path / out / "best.safetensors").is_file()
