"""Runs whose pictures and networks grow, from the recipe to what is drawn of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from starts import small, table_of

from gan_core import distributed
from gan_core.growth import Growth
from translate.data.dataset import DataSet
from translate.data.image import find, read
from translate.data.preparation import Preparation
from translate.data.unlabelled import Unlabelled
from translate.expectation import expect
from translate.recipe import resolve
from translate.recipe_file import read as read_recipe
from translate.training import build, stretch

Command = Callable[..., Any]
Mistake = Callable[..., str]
RECIPE = "faces-progressive-small"
NARROW = ("generator.base=32", "discriminator.base=32", "generator.latent=8")
SMALL = (
    *("--size", 16, "--device", "cpu", "--precision", "fp32"),
    *(word for change in NARROW for word in ("--set", f"networks.{change}")),
    *("--set", "growth.batch_sizes=[2]", "--set", "run.log_every=1", "--set", "run.judged=4"),
)
PHASES = {"stabilise": 8, "fade": 8, "final": 16}  # 4, F8, 8, F16, 16: 24 steps of 2


@pytest.fixture
def faces(draw: Callable[..., Path], tmp_path: Path) -> Path:
    return draw(tmp_path / "faces", 6)


@pytest.fixture
def words(faces: Path) -> tuple[object, ...]:
    lengths = (word for key, n in PHASES.items() for word in ("--set", f"growth.{key}={n}"))
    return "train", "gan", "--recipe", RECIPE, "--images", faces, *SMALL, *lengths


def curriculum(run: Path) -> Growth:
    growth = resolve(read_recipe(str(run / "recipe.toml")), []).make_growth()
    assert growth
    return growth


class TestLength:
    def test_without_steps_a_run_is_as_long_as_its_curriculum(
        self, words: Any, command: Command
    ) -> None:
        assert "24 steps" in command(*words, "--dry-run").out

    def test_steps_scale_all_phases(self, words: Any, command: Command, tmp_path: Path) -> None:
        assert command(*words, "--steps", 6, "--out", tmp_path / "run").code == 0
        growth = curriculum(tmp_path / "run")
        assert growth.begins == [(0, 0), (1, 2), (2, 4), (3, 6), (4, 8), (6, 12)]

    def test_a_resumed_run_keeps_its_phases_and_ends_later(
        self, words: Any, command: Command, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        assert command(*words, "--steps", 6, "--out", run).code == 0
        assert command("train", "gan", "--resume", run, "--steps", 8).code == 0
        assert curriculum(run).begins[-1] == (6, 12)
        assert '"step": 8' in (run / "log.jsonl").read_text()

    def test_a_recipe_file_of_a_run_repeats_it(
        self, words: Any, command: Command, faces: Path, tmp_path: Path
    ) -> None:
        one, two = tmp_path / "one", tmp_path / "two"
        assert command(*words, "--steps", 6, "--out", one).code == 0
        again = ("train", "gan", "--recipe", one / "recipe.toml", "--out", two)
        assert command(*again).code == 0
        name = "model.safetensors"
        assert (one / name).read_bytes() == (two / name).read_bytes()

    def test_critic_steps_and_accumulation_take_batches_of_their_own(self, faces: Path) -> None:
        changes = {"growth.batch_sizes": [2], "data.size": 16, "data.images": str(faces)}
        changes |= {"method.discriminator_steps": 3, "run.accumulate": 2}
        recipe = resolve(read_recipe(RECIPE), list(changes.items()))
        stretch(recipe, 10)
        growth = recipe.make_growth()
        assert growth
        assert growth.begins[-1][0] == pytest.approx(10 * 3 * 2, abs=2)

    def test_epochs_are_refused(self, words: Any, mistake: Mistake) -> None:
        mistake(*words, "--epochs", 2, says=["--steps", "epochs"])


class TestSample:
    @pytest.fixture
    def run(self, words: Any, command: Command, tmp_path: Path) -> Path:
        assert command(*words, "--out", tmp_path / "run").code == 0
        return tmp_path / "run"

    def drawn(self, command: Command, run: Path, *more: object) -> list[Any]:
        out = run.parent / "drawn"
        assert command("sample", run, "--out", out, "--count", 3, "--overwrite", *more).code == 0
        return [read(path) for path in find(out)]

    @pytest.mark.parametrize(("words_", "side"), [((), 16), (("--at", 8), 8), (("--at", 4), 4)])
    def test_at_any_level(
        self, run: Path, command: Command, words_: tuple[object, ...], side: int
    ) -> None:
        images = self.drawn(command, run, *words_)
        assert {image.shape for image in images} == {(side, side, 3)}
        assert len({image.tobytes() for image in images}) == 3

    def test_not_at_a_level_that_there_is_not(self, run: Path, mistake: Mistake) -> None:
        mistake("sample", run, "--out", run / "x.png", "--at", 32, says=["4, 8, 16", "not at 32"])

    def test_a_run_that_stopped_while_it_grew_draws_at_its_stage(
        self, words: Any, command: Command, mistake: Mistake, tmp_path: Path
    ) -> None:
        """By --set the curriculum is left as it is, and the run ends in the midst of it."""
        run = tmp_path / "stopped"
        assert command(*words, "--set", "schedule.steps=7", "--out", run).code == 0
        assert {image.shape for image in self.drawn(command, run)} == {(8, 8, 3)}
        mistake("sample", run, "--out", run / "x.png", "--at", 16, says=["4, 8", "not at 16"])

    def test_no_level_of_a_model_that_did_not_grow(
        self, command: Command, mistake: Mistake, faces: Path, tmp_path: Path
    ) -> None:
        run, small = tmp_path / "dcgan", ("--size", 16, "--batch-size", 2, "--steps", 1)
        recipe = ("--recipe", "faces-dcgan-small", "--device", "cpu")
        assert command("train", "gan", *recipe, "--images", faces, *small, "--out", run).code == 0
        mistake("sample", run, "--out", run / "x.png", "--at", 8, says=["--at"])


class TestRefused:
    def test_networks_that_do_not_grow(self, words: Any, mistake: Mistake) -> None:
        kinds = ("--set", "networks.generator.kind=dcgan", "--set")
        says = ["none of the networks grows", "growth.grows = 'pictures'"]
        changed = [word for word in words if "latent" not in str(word) and "base" not in str(word)]
        while "--set" in changed and changed[changed.index("--set") + 1] == "--set":
            changed.remove("--set")
        mistake(*changed, *kinds, "networks.discriminator.kind=dcgan-discriminator", says=says)

    def test_growth_of_points(self, mistake: Mistake) -> None:
        toy = ("train", "gan", "--recipe", "8gaussians-wgan-gp", "--set", "growth.start=4")
        mistake(*toy, says=["[growth]", "pictures"])

    def test_a_size_that_is_no_power_of_two(self, words: Any, mistake: Mistake) -> None:
        mistake(*words, "--size", 24, says=["power of two", "24"])

    def test_an_unknown_key_names_the_nearest(self, words: Any, mistake: Mistake) -> None:
        mistake(*words, "--set", "growth.stabilize=8", says=["growth", "stabilise"])


def test_what_it_would_cost_counts_every_phase(faces: Path) -> None:
    changes: dict[str, Any] = {f"growth.{key}": n for key, n in PHASES.items()}
    changes |= {"growth.batch_sizes": [2], "data.size": 16, "data.images": str(faces)}
    changes |= {"run.device": "cpu", **{f"networks.{c.split('=')[0]}": 32 for c in NARROW[:2]}}
    run = build(resolve(read_recipe(RECIPE), list(changes.items())), torch.device("cpu"), print)
    seen = []
    step = run.trainer.step
    run.trainer.step = lambda batches: seen.append(run.trainer.counts["images"]) or step(batches)  # type: ignore[method-assign,func-returns-value]
    expected = expect(run, steps=2)
    assert expected["steps"] == 24
    assert seen == [start + more for start in (0, 8, 16, 24, 32) for more in (0, 2, 4)]


class TestData:
    def growth(self) -> Growth:
        return Growth(16, 4, stabilise=16, fade=8, final=8, batch_sizes=(8, 4, 2))

    def data(self, faces: Path) -> DataSet:
        layout = Unlabelled(Preparation(size=16), images=str(faces))
        return DataSet(layout, 0, self.growth(), batch_size=4)

    def test_batches_follow_the_curriculum(self, faces: Path) -> None:
        data, growth = self.data(faces), self.growth()
        shapes = [tuple(data[n].batch["image"].shape) for n in range(growth.begins[-1][0])]
        expected = [
            *[(8, 3, 4, 4)] * 2,
            *[(4, 3, 8, 8)] * 6,
            *[(2, 3, 16, 16)] * 8,
        ]
        assert shapes == expected
        shares = [data[n].batch.get("alpha", torch.ones(1))[0].item() for n in range(4)]
        assert shares == [1.0, 1.0, 0.0, 0.5]

    def test_processes_share_them_out(self, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        alone, parts = self.data(faces), []
        monkeypatch.setattr(distributed, "world", lambda: 2)
        for rank in range(2):
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            parts.append(self.data(faces))
        for n in range(10):
            whole = alone[n].batch
            for key in whole:
                assert torch.equal(whole[key], torch.cat([p[n].batch[key] for p in parts]))

    def test_batches_that_processes_cannot_share_are_refused(
        self, faces: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(distributed, "world", lambda: 4)
        monkeypatch.setattr(distributed, "rank", lambda: 0)
        with pytest.raises(ValueError, match="a multiple of the 4 processes, not 2"):
            self.data(faces)

    def test_pictures_of_sizes_of_their_own_cannot_grow(self, faces: Path) -> None:
        layout = Unlabelled(Preparation(size=16, preprocess="none"), images=str(faces))
        with pytest.raises(ValueError, match="without growth"):
            DataSet(layout, 0, self.growth(), batch_size=1)


LOSSES = {
    "hinge": ("method.loss=hinge", "method.penalty=none"),
    "vanilla": ("method.loss=vanilla", "method.penalty=r1"),
    "lsgan": ("method.loss=lsgan", "method.penalty=one-sided"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_networks_grow_around_any_loss(
    loss: str, words: Any, command: Command, tmp_path: Path
) -> None:
    changes = [word for change in LOSSES[loss] for word in ("--set", change)]
    assert command(*words, *changes, "--steps", 6, "--out", tmp_path / "run").code == 0
    assert '"skipped": 1' not in (tmp_path / "run" / "log.jsonl").read_text()


@pytest.mark.parametrize(
    "recipe", ["faces-ebgan-small", "faces-began-small", "faces-ogan-small", "cyclegan-small"]
)
def test_pictures_gain_detail_around_any_method(
    recipe: str,
    data_of: Callable[[str, Path], tuple[object, ...]],
    command: Command,
    tmp_path: Path,
) -> None:
    lengths = {"grows": "pictures", "stabilise": 2, "fade": 4, "final": 4}
    changes = [*small(recipe), *((f"growth.{key}", value) for key, value in lengths.items())]
    outcome = command(
        *("train", table_of(recipe)["method"]["name"], "--recipe", recipe),
        *(*data_of(recipe, tmp_path), "--device", "cpu", "--set", "schedule.epochs=0"),
        *(f"--set={key}={json.dumps(value)}" for key, value in changes),
        *("--set", "schedule.steps=0", "--set", "run.log_every=1", "--out", tmp_path / "run"),
    )
    assert (outcome.code, outcome.err) == (0, "")
    lines = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if "images" in line] == list(range(1, 9))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("method.constraint=clip",), "constraint is of weights as they stand"),
        (("method.lambda_orthogonal=1e-4",), "lambda_orthogonal is of weights"),
        (("growth.start=16", "growth.final=0"), "no images in all"),
    ],
)
def test_what_growth_cannot_go_with(
    changes: tuple[str, ...], says: str, words: Any, mistake: Mistake
) -> None:
    more = [word for change in changes for word in ("--set", change)]
    mistake(*words, *more, "--steps", 4, says=[says])
