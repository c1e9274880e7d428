"""The two ways' training steps as they are measured, inside this process."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from drawn_training import small

from gan_core.kernels import dispatch
from translate.bench import training
from translate.bench.plain import AnySystem
from translate.errors import UserError


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """The plain way's settings are its process's, which here is the tests'."""
    before = torch.backends.cudnn.benchmark, dispatch._auto
    yield
    torch.backends.cudnn.benchmark = before[0]
    dispatch.use(before[1])


def test_a_turn_does_as_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = training.build
    monkeypatch.setattr(training, "build", lambda *given: built.append(build(*given)) or built[-1])
    work = training.ours(small(tmp_path, "cyclegan", networks__generator__blocks=0))
    assert work.images == 2
    assert 0 < work.turn(3) < 60
    (run,) = built
    assert run.trainer.counts["batches"] == 3
    assert run.trainer.counts["step"] == training.LONG // 2 + 1 + 3
    assert work.facts["batch"] == 2
    assert work.facts["run"]["precision"] == "fp32"
    assert work.facts["redone"] == 0


def test_critics_batches_count(tmp_path: Path) -> None:
    gan = {"method__discriminator_steps": 3, "networks__generator__latent": 8}
    asked = small(tmp_path, "gan", **gan)
    kept = tuple(pair for pair in asked.overrides if not pair[0].endswith(".layers"))
    asked = replace(asked, source="faces-dcgan-small", overrides=kept)
    for work in (training.ours(asked), training.the_plain(asked, "fp32")):
        assert work.images == 3 * 2
        assert work.turn(1) > 0


def test_what_grows_is_measured_in_its_last_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At full size, nothing fading, with that phase's batch."""
    asked = small(tmp_path, "gan")
    smaller = {"base": 32, "most": 8}
    networks = {f"networks.generator.{key}": value for key, value in smaller.items()}
    networks |= {f"networks.discriminator.{key}": value for key, value in smaller.items()}
    networks |= {"networks.generator.latent": 8, "growth.batch_sizes": [4, 2]}
    overrides = (("data.size", 16), ("run.precision", "fp32"), *networks.items())
    asked = replace(asked, source="faces-progressive-small", overrides=overrides)
    seen = []
    step = AnySystem.step
    monkeypatch.setattr(
        AnySystem, "step", lambda loop, batches: seen.append(loop) or step(loop, batches)
    )
    for work in (training.ours(asked), training.the_plain(asked, "bf16")):
        assert work.facts["batch"] == 2
        assert work.turn(2) > 0
    loop = seen[0]
    assert loop.method.stage.resolution == 16
    assert loop.method.stage.alpha == 1


def test_special_steps_of_a_run_are_gone_round() -> None:
    """A burst of critic steps comes at every 500th."""
    start = training._middle(training.LONG, type("NoGrowth", (), {"growth": None}))  # type: ignore[arg-type]
    steps, step = [], start.step
    for _ in range(1000):
        steps.append(step)
        step = training._next(start, step + 1)
    assert len(set(steps)) == 400
    assert not any(step % 500 == 0 for step in steps)


def test_the_plain_way_runs_references(tmp_path: Path) -> None:
    dispatch.use("triton")
    training.the_plain(small(tmp_path, "pix2pix"), "fp32")
    assert dispatch._auto == "reference"
    assert torch.backends.cudnn.benchmark


def test_text_is_not_drawn(tmp_path: Path) -> None:
    asked = replace(small(tmp_path, "gan"), source="text-wgan-gp-small", overrides=())
    with pytest.raises(UserError, match="no data of kind 'text'"):
        asked.recipe()
