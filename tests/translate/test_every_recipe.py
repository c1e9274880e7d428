"""What holds for every packaged recipe, also for new ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import torch
from starts import kind_of, small, table_of

from translate.expectation import parameters
from translate.methods import METHODS
from translate.networks import NETWORKS
from translate.recipe import resolve
from translate.recipe_file import read, recipe_names, recipes_folder
from translate.schema import keywords


def test_there_are_recipes() -> None:
    assert {"cyclegan", "cyclegan-small", "demo"} <= set(recipe_names())


# Parameters of each network at full size, and the shape of what the recipe makes.
FULL: dict[str, tuple[dict[str, int], tuple[int, ...]]] = {
    "25gaussians-wgan": ({"G": 527_874, "D": 527_361}, (2,)),
    "25gaussians-wgan-gp": ({"G": 527_874, "D": 527_361}, (2,)),
    "8gaussians-wgan": ({"G": 527_874, "D": 527_361}, (2,)),
    "8gaussians-wgan-gp": ({"G": 527_874, "D": 527_361}, (2,)),
    "bedrooms-resnet101-wgan-gp": ({"G": 9_189_587, "D": 7_618_801}, (3, 64, 64)),
    "bedrooms-resnet101-wgan-gp-small": ({"G": 104_975, "D": 31_381}, (3, 32, 32)),
    "cgan": ({"G": 4_330_499, "D": 5_420_481}, (3, 64, 64)),
    "cgan-small": ({"G": 568_899, "D": 371_857}, (3, 32, 32)),
    "cifar10-wgan-gp": ({"G": 1_204_483, "D": 1_053_825}, (3, 32, 32)),
    "cifar10-wgan-gp-small": ({"G": 58_995, "D": 37_849}, (3, 32, 32)),
    "colourise": ({"G": 54_409_858, "D": 2_765_633}, (2, 256, 256)),
    "cyclegan": (
        {"G": 11_378_179, "F": 11_378_179, "D_X": 2_764_737, "D_Y": 2_764_737},
        (3, 256, 256),
    ),
    "cyclegan-small": (
        {"G": 1_965_059, "F": 1_965_059, "D_X": 167_649, "D_Y": 167_649},
        (3, 64, 64),
    ),
    "demo": ({"G": 1_374_723, "F": 1_374_723, "D_X": 167_649, "D_Y": 167_649}, (3, 64, 64)),
    "faces-began": ({"G": 1_716_611, "D": 13_405_379}, (3, 64, 64)),
    "faces-began-small": ({"G": 80_915, "D": 342_787}, (3, 32, 32)),
    "faces-biggan": ({"G": 68_413_636, "D": 86_446_370}, (3, 128, 128)),
    "faces-biggan-small": ({"G": 74_820, "D": 69_186}, (3, 32, 32)),
    "faces-biginfogan": (
        {"G": 68_413_636, "D": 86_446_370, "Q": 15_237_220},
        (3, 128, 128),
    ),
    "faces-biginfogan-small": ({"G": 70_084, "D": 69_186, "Q": 86_040}, (3, 32, 32)),
    "faces-dcgan": ({"G": 12_658_435, "D": 2_765_633}, (3, 64, 64)),
    "faces-dcgan-small": ({"G": 568_227, "D": 374_641}, (3, 32, 32)),
    "faces-ebgan": ({"G": 12_658_435, "D": 7_612_227}, (3, 64, 64)),
    "faces-ebgan-small": ({"G": 568_227, "D": 593_827}, (3, 32, 32)),
    "faces-hinge": ({"G": 13_607_684, "D": 14_318_786}, (3, 128, 128)),
    "faces-hinge-small": ({"G": 291_780, "D": 54_610}, (3, 32, 32)),
    "faces-infogan": ({"G": 4_625_283, "D": 2_765_633, "Q": 1_061_732}, (3, 64, 64)),
    "faces-infogan-small": ({"G": 494_499, "D": 374_641, "Q": 394_504}, (3, 32, 32)),
    "faces-ogan": ({"G": 45_530_243, "E": 45_530_240}, (3, 128, 128)),
    "faces-ogan-small": ({"G": 296_899, "E": 296_928}, (3, 32, 32)),
    "faces-progressive": ({"G": 23_079_115, "D": 23_087_249}, (3, 1024, 1024)),
    "faces-progressive-fixed": ({"G": 8_541_443, "D": 3_550_785}, (3, 64, 64)),
    "faces-progressive-fixed-small": ({"G": 296_899, "D": 168_033}, (3, 32, 32)),
    "faces-progressive-small": ({"G": 278_636, "D": 279_521}, (3, 32, 32)),
    "faces-proinfogan": (
        {"G": 65_228_466, "D": 22_941_313, "Q": 44_695_632},
        (3, 128, 128),
    ),
    "faces-proinfogan-small": ({"G": 1_055_884, "D": 279_521, "Q": 348_176}, (3, 32, 32)),
    "faces-wgan-gp": ({"G": 8_541_443, "D": 3_550_785}, (3, 64, 64)),
    "faces-wgan-gp-small": ({"G": 296_899, "D": 168_033}, (3, 32, 32)),
    "inpaint": ({"G": 54_414_979, "D": 2_769_729}, (3, 256, 256)),
    "pix2pix": ({"G": 54_413_955, "D": 2_768_705}, (3, 256, 256)),
    "pix2pix-small": ({"G": 10_461_507, "D": 169_377}, (3, 128, 128)),
    "swissroll-wgan": ({"G": 527_874, "D": 527_361}, (2,)),
    "swissroll-wgan-gp": ({"G": 527_874, "D": 527_361}, (2,)),
    "text-wgan-gp": ({"G": 15_278_182, "D": 13_181_441}, (102, 32)),
    "text-wgan-gp-small": ({"G": 221_926, "D": 90_817}, (102, 32)),
}


@pytest.mark.parametrize("name", recipe_names())
class TestEveryRecipe:
    def test_its_header_says_what_it_is_and_how_to_run_it(self, name: str) -> None:
        text = (recipes_folder() / f"{name}.toml").read_text(encoding="utf-8")
        header = text[: text.index("\n\n")]
        assert all(line.startswith("#") for line in header.splitlines())
        assert len(header.splitlines()[0]) > 20
        assert "Data:" in header or kind_of(name) == "points"
        assert any(word in header for word in ("minute", "hour", "day", "week"))
        run = next(line for line in header.splitlines() if "Run:" in line)
        family = METHODS[table_of(name)["method"]["name"]].family
        assert f"translate train {family}" in run or "make " in run
        if "translate" in run and name != family:
            assert f"--recipe {name}" in run

    def test_it_round_trips(self, name: str) -> None:
        first = resolve(read(name), [])
        written = first.toml()
        assert resolve(tomlkit.parse(written), []).values == first.values
        for line in read(name).as_string().splitlines():
            comment = line.partition("#")[2]
            assert comment in written

    def test_it_can_be_built_at_full_size(self, name: str) -> None:
        """On torch's meta device: shapes without numbers.

        What holds weights leaves their number as it is, and takes its time to begin.
        """
        free = [
            (f"networks.{section}.weights", "free")
            for section, table in table_of(name)["networks"].items()
            if "weights" in keywords(NETWORKS[table["kind"]])
        ]
        chosen = resolve(read(name), free)
        method, values = chosen.make_method(), chosen.values["data"]
        with torch.device("meta"):
            nets, describe = chosen.make_networks(method, chosen.layout.channels_of(values))
            batch = chosen.layout.blank(values)
        assert set(nets) == set(describe)
        counts = {key: parameters(net) for key, net in nets.items()}
        scene = method.scene(nets, batch)
        for update in method.updates:
            assert all(term.ndim == 0 for term in method.losses(update, nets, scene).values())
        made = method.made(nets, batch, torch.Generator())
        for key, pictures in made.items():
            assert pictures.shape == batch.get(key, made.get("image", pictures)).shape
        shape = tuple(next(iter(made.values())).shape[1:])
        row = f"    {name!r}: ({counts}, {shape}),".replace("'", '"')
        assert FULL.get(name) == (counts, shape), f"is this row of FULL right?\n{row}"

    def test_it_takes_two_steps(
        self, name: str, data_of: Callable[..., Any], command: Callable[..., Any], tmp_path: Path
    ) -> None:
        words = [f"--set={key}={json.dumps(value)}" for key, value in small(name)]
        outcome = command(
            *("train", table_of(name)["method"]["name"], "--recipe", name),
            *(*data_of(name, tmp_path), "--out", tmp_path / "run"),
            *("--steps", 2, "--device", "cpu"),
            *words,
        )
        assert outcome.code == 0
        lines = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
        last = [line for line in lines if "images" in line][-1]
        assert last["step"] == 2
        assert last["skipped"] == 0


def test_no_row_is_of_a_recipe_that_is_gone() -> None:
    assert FULL.keys() <= set(recipe_names())
