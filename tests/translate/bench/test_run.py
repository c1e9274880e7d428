"""What is measured for what a person asks, without measuring it."""

from pathlib import Path
from typing import Any

import pytest

from translate.bench import run
from translate.bench.compare import Effort
from translate.bench.run import Request, bench, sweep_of
from translate.bench.training import Training
from translate.errors import UserError

TINY = (("networks.generator.filters", 4), ("networks.discriminator.layers", 1))


class Asked:
    """Stands in for ``compare``: keeps what it was to compare, and tells a measurement's facts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trainings: list[Training] = []
        self.rivals: list[list[str]] = []
        self.precision = "bf16"
        monkeypatch.setattr(run, "compare", self)

    def __call__(
        self, title: str, ours: Any, rivals: Any, limit: Any, effort: Any, watch: Any
    ) -> dict[str, Any]:
        facts = {"run": {"precision": self.precision}, "batch": 1}
        self.trainings.append(ours.args[0])
        made = rivals(facts)
        self.rivals.append(list(made))
        if isinstance(ours.args[0], Training):  # the same training, to the letter
            assert all(
                (rival.func.args if hasattr(rival.func, "args") else rival.args)[0] == ours.args[0]
                for rival in made.values()
            )
        return {"sides": {}, "faster": {}}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def measure(*whats: str, sweeps: Any = None, **request: Any) -> dict[str, Any]:
    given = {"device": "cpu", "size": 16, "pictures": 2, "overrides": TINY, **request}
    return bench(whats, Request(**given), Effort(), sweeps or {}, None)  # type: ignore[arg-type]


def test_ours_and_its_rivals(asked: Asked) -> None:
    result = measure("cyclegan", "pix2pix", size=32)
    assert [row["what"] for row in result["comparisons"]] == ["cyclegan", "pix2pix"]
    assert asked.rivals == [["plain", "plain bf16"]] * 2
    asked.precision = "fp32"
    measure("cyclegan", size=32)
    assert asked.rivals[-1] == ["plain"]


def test_a_sweep_measures_at_each_value_what_it_makes_a_difference_to(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: True)
    sweeps = {"size": [16, 32], "batch": [1, 3], "workers": [0, 2]}
    result = measure("cyclegan", "load", sweeps=sweeps)
    places = [(row["what"], row["swept"], row["value"]) for row in result["comparisons"]]
    assert places == [
        *[("cyclegan", "size", size) for size in (16, 32)],
        *[("load", "size", size) for size in (16, 16, 32, 32)],  # of two kinds of pictures
        *[("cyclegan", "batch", batch) for batch in (1, 3)],
        *[("load", "batch", batch) for batch in (1, 1, 3, 3)],
        *[("load", "workers", workers) for workers in (0, 0, 2, 2)],
    ]
    values = [dict(training.overrides) for training in asked.trainings]
    assert [v["data.size"] for v in values[:6]] == [16, 32, 16, 16, 32, 32]
    assert [v["data.batch_size"] for v in values[6:12]] == [1, 3, 1, 1, 3, 3]
    assert [v["data.workers"] for v in values[12:]] == [0, 0, 2, 2]
    assert {v["data.size"] for v in values[6:]} == {16}
    with pytest.raises(UserError, match="workers makes no difference to cyclegan"):
        measure("cyclegan", sweeps={"workers": [1]})


def test_a_value_that_cannot_be_costs_nothing_that_was_measured(asked: Asked) -> None:
    result = measure("cyclegan", sweeps={"size": [16, 18, 32]})
    assert [row["value"] for row in result["comparisons"]] == [16, 32]
    (note,) = result["notes"]
    assert note.startswith("cyclegan at size 18: left out: ")
    with pytest.raises(UserError, match=r"at size 17: left out: .*; cyclegan at size 18: left out"):
        measure("cyclegan", sweeps={"size": [17, 18]})


def test_stopped_it_keeps_what_was_measured(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*given: Any) -> dict[str, Any]:
        if len(asked.trainings) == 2:
            raise KeyboardInterrupt
        return asked(*given)

    monkeypatch.setattr(run, "compare", stopped)
    result = measure("cyclegan", sweeps={"size": [16, 32, 64]})
    assert [row["value"] for row in result["comparisons"]] == [16, 32]
    assert result["notes"] == ["stopped before all was measured"]


def test_what_the_plain_way_of_loading_has_not_is_refused(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: True)
    with pytest.raises(UserError, match=r"the plain way of loading has no data\.flip"):
        measure("load", overrides=(("data.flip", False),))
    assert measure("load", batch=2, overrides=(("data.load_ratio", 1.5),))["comparisons"]


def test_pictures_to_load_are_of_two_sizes(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: True)
    assert [row["of"] for row in measure("load")["comparisons"]] == [16, 32]
    assert asked.rivals == [["plain"], ["plain"]]


def test_without_pillow_a_sentence_says_what_to_install(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    result = measure("load", sweeps={"batch": [1, 2]})
    assert result["comparisons"] == []
    assert len(result["notes"]) == 1
    assert "pip install pillow" in result["notes"][0]


def test_a_recipe_is_measured_as_what_it_is_for(asked: Asked) -> None:
    measure("cyclegan", "pix2pix", recipe="cyclegan-small", size=32)
    assert [training.source for training in asked.trainings] == ["cyclegan-small", None]
    for whats, recipe in (
        (["pix2pix"], "cyclegan-small"),
        (["cyclegan", "convert", "load"], "faces-dcgan-small"),
        (["gan"], "cgan-small"),
    ):
        with pytest.raises(UserError, match=f"--recipe {recipe} is for "):
            measure(*whats, recipe=recipe)
    with pytest.raises(UserError, match="choose what to train, with --recipe"):
        measure("gan")


def test_what_grows_is_measured_at_the_batch_asked_for(asked: Asked) -> None:
    measure("gan", recipe="faces-progressive-small", size=16, batch=3, overrides=())
    recipe = asked.trainings[0].recipe()
    growth = recipe.make_growth()
    assert growth is not None
    assert set(growth.batch_sizes) == {3}


def test_unknown_words_are_refused() -> None:
    with pytest.raises(UserError, match="nothing called 'cycle' is measured; did you mean"):
        measure("cycle")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("size=64,128", ("size", [64, 128])), ("workers=2,0,2", ("workers", [0, 2]))],
)
def test_a_sweep_in_words(text: str, wanted: object) -> None:
    assert sweep_of(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["sizes=64", "size", "size=", "size=a", "batch=1.5", "size=3,64", "batch=0", "workers=-1"],
)
def test_no_sweep(text: str) -> None:
    with pytest.raises(UserError, match=f"--sweep {text}"):
        sweep_of(text)


def test_result_says_where_and_when_and_nothing_of_whose(asked: Asked, tmp_path: Path) -> None:
    result = measure("cyclegan", size=32)
    machine = result["machine"]
    assert machine.keys() >= {"date", "device", "cores", "threads", "versions", "auto_precision"}
    assert machine["versions"].keys() >= {"python", "torch", "numpy"}
    assert {"recipe", "size", "title"} <= result["comparisons"][0].keys()
    assert "domains" not in result["comparisons"][0]["recipe"]["data"]
