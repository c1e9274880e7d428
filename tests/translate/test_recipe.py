import datetime
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import torch

from translate.data.sets import LAYOUTS
from translate.device import find_device
from translate.errors import UserError
from translate.methods import METHODS
from translate.methods.cyclegan import CycleGAN
from translate.recipe import Recipe, changed_keys, resolve
from translate.recipe_file import default_recipe, parse_override, read, recipe_names, recipes_folder
from translate.training import build, open_run

NETWORKS = """
    [networks.generator]
    kind = "resnet"
    [networks.discriminator]
    kind = "patch"
"""


def recipe(text: str = "", *overrides: tuple[str, Any], method: str | None = "cyclegan") -> Recipe:
    """Resolve a document; domains are given where its [data] is."""
    document = tomlkit.parse(textwrap.dedent(text))
    return resolve(document, [("data.domains", ["x", "y"]), *overrides], method)


# --------------------------------------------------------------------------- where values come from


def test_defaults_are_those_of_the_signatures() -> None:
    values = recipe().values
    assert values["method"] == {
        "name": "cyclegan",
        "loss": "lsgan",
        "lambda_cycle": 10.0,
        "lambda_identity": 0.5,
        "cycle_gradient": "both",
        "lambda_feature": 0.0,
        "penalty": "none",
        "lambda_penalty": 10.0,
        "pool_size": 50,
    }
    assert values["data"]["size"] == 256
    assert values["data"]["workers"] == "auto"
    assert values["optimizer"]["kind"] == "adam"
    assert values["schedule"] == {"kind": "linear", "decay_from": 0.5, "steps": 0, "epochs": 0}
    assert values["run"]["keep"] == 2
    assert values["run"]["seed"] == 0
    assert values["run"]["device"] == "auto"


def test_file_over_defaults_and_overrides_over_the_file() -> None:
    text = """
        [data]
        size = 128
        batch_size = 4
        [optimizer]
        lr = 3
    """
    chosen = recipe(text, ("data.size", 64), ("run.seed", 1), ("run.seed", 2)).values
    assert chosen["data"]["size"] == 64
    assert chosen["data"]["batch_size"] == 4
    assert chosen["data"]["flip"] is True
    assert chosen["run"]["seed"] == 2
    assert chosen["optimizer"]["lr"] == 3.0
    assert isinstance(chosen["optimizer"]["lr"], float)


def test_an_override_reaches_sections_that_the_file_lacks() -> None:
    chosen = recipe("", ("networks.generator.kind", "resnet"), ("networks.generator.blocks", 2))
    assert chosen.values["networks"]["generator"]["blocks"] == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data.size=128", ("data.size", 128)),
        (" data.size = 128 ", ("data.size", 128)),
        ("optimizer.lr=1e-4", ("optimizer.lr", 1e-4)),
        ("data.flip=false", ("data.flip", False)),
        ("optimizer.betas=[0.5, 0.9]", ("optimizer.betas", [0.5, 0.9])),
        ("method.loss=hinge", ("method.loss", "hinge")),
        ('method.loss="hinge"', ("method.loss", "hinge")),
        ("run.device=cuda:1", ("run.device", "cuda:1")),
        ("data.a=b=c", ("data.a", "b=c")),
        ('data.augment=[{transform="Blur"}]', ("data.augment", [{"transform": "Blur"}])),
        ("data.size=", ("data.size", "")),
    ],
)
def test_set_reads_toml_and_bare_words(text: str, expected: tuple[str, Any]) -> None:
    assert parse_override(text) == expected


def test_set_without_a_value() -> None:
    with pytest.raises(UserError, match=r"write section\.key=value"):
        parse_override("data.flip")


# ----------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("data.sise", 64, ["[data]", "'sise'", "did you mean 'size'?"]),
        ("method.lambda_cicle", 1.0, ["[method]", "did you mean 'lambda_cycle'?"]),
        ("networks.generator.block", 1, ["[networks.generator]", "did you mean 'blocks'?"]),
        ("optimizer.beta", [0.5, 0.9], ["[optimizer]", "did you mean 'betas'?"]),
        ("schedule.step", 1, ["[schedule]", "did you mean 'steps'?"]),
        ("run.sede", 1, ["[run]", "did you mean 'seed'?"]),
        ("run.zzzz", 1, ["[run]", "choose ", "seed", "keep"]),
        ("dota.size", 64, ["[dota]", "did you mean 'data'?"]),
        ("size", 64, ["--set size", "name the section", "data.size"]),
        ("data.size.x", 1, ["data.size.x", "size is a value, not a section"]),
        ("networks.generator.kind", "resnt", ["[networks.generator]", "did you mean 'resnet'?"]),
        ("networks.generator.kind", 3, ["[networks.generator]", "kind = 3"]),
        ("networks.critic.filters", 3, ["[networks.critic]", "must say its kind", "patch"]),
        ("networks.generator", 3, ["[networks.generator] must be a section"]),
        ("optimizer.kind", "adm", ["[optimizer]", "did you mean 'adam'?"]),
        ("optimizer.genrator.lr", 1.0, ["[optimizer.genrator]", "did you mean 'generator'?"]),
        ("schedule.kind", "linea", ["[schedule]", "did you mean 'linear'?"]),
        ("method.name", "ciclegan", ["cyclegan"]),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(key: str, value: object, says: list[str]) -> None:
    with pytest.raises(UserError) as told:
        recipe(
            """
            [data]
            size = 64
            [networks.generator]
            kind = "resnet"
            """,
            (key, value),
        )
    for words in says:
        assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("key", "value", "wish"),
    [
        ("data.size", "big", "integer"),
        ("data.size", 64.5, "integer"),
        ("data.size", True, "integer"),
        ("data.size", [64], "integer"),
        ("data.size", datetime.date(2020, 1, 31), "integer"),
        ("data.flip", 1, "boolean"),
        ("data.flip", "no", "boolean"),
        ("data.domains", ["a"], "domains"),
        ("data.domains", "a", "array"),
        ("data.channels", [3, 2], "1, 3 or 4"),
        ("data.workers", "many", "'auto' or integer"),
        ("method.loss", "lsgam", "'lsgan'"),
        ("method.lambda_cycle", "ten", "number"),
        ("optimizer.betas", [0.5], "betas"),
        ("schedule.epochs", 1.5, "integer"),
        ("run.device", 1, "string"),
    ],
)
def test_a_wrong_type_is_told_with_what_is_wanted(key: str, value: object, wish: str) -> None:
    section, _, name = key.partition(".")
    with pytest.raises(UserError) as told:
        recipe("", (key, value))
    assert str(told.value).startswith(f"recipe: [{section}] {name} = ")
    assert wish in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[dato]\nsize = 1", "no section [dato]; did you mean 'data'?"),
        ("size = 1", "no section [size]"),
        ("data = 1", "data must be a section"),
        ("[[run]]\nseed = 1", "run must be a section"),
        ("[method]\nname = 1", "must say name"),
    ],
)
def test_a_misshapen_file(text: str, says: str) -> None:
    with pytest.raises(UserError) as told:
        resolve(tomlkit.parse(text), [], None)
    assert says in str(told.value)


@pytest.mark.parametrize("method", METHODS)
def test_missing_pictures_are_asked_for(method: str) -> None:
    chosen = resolve(default_recipe(method), [("run.device", "cpu")], method)
    with pytest.raises(UserError, match=r"^give .*--") as told:
        build(chosen, torch.device("cpu"), lambda sentence: None)
    assert str(told.value) == f"give {LAYOUTS[METHODS[method].data].wanted}"


def test_neither_file_nor_command_names_a_method() -> None:
    with pytest.raises(UserError, match="must say name"):
        recipe("", method=None)


def test_a_recipe_for_another_method_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "other", CycleGAN)
    with pytest.raises(UserError, match="for the method 'other', not 'cyclegan'"):
        recipe("[method]\nname = 'other'")


def test_a_recipes_name_given_as_a_method_is_no_method() -> None:
    with pytest.raises(
        UserError, match="no method is called 'demo'; choose cgan, cyclegan, pix2pix"
    ):
        resolve(default_recipe("demo"), [], "demo")


def test_a_method_that_needs_a_network_says_which() -> None:
    chosen = recipe("[networks.generator]\nkind = 'resnet'")
    with torch.device("meta"), pytest.raises(UserError, match=r"needs \[networks.discriminator\]"):
        chosen.make_networks(chosen.make_method(), {"x": 3, "y": 3})


@pytest.mark.parametrize(
    ("method", "section", "kind", "fitting"),
    [
        ("cgan", "discriminator", "patch", "dcgan-discriminator"),
        ("cgan", "generator", "unet", "dcgan"),
        ("cyclegan", "discriminator", "unet", "patch, pixel, dcgan-discriminator"),
        ("cyclegan", "generator", "patch", "resnet, unet"),
        ("pix2pix", "generator", "dcgan", "resnet, unet"),
    ],
)
def test_a_network_that_does_not_suit_the_method(
    method: str, section: str, kind: str, fitting: str
) -> None:
    chosen = resolve(default_recipe(method), [(f"networks.{section}.kind", kind)], method)
    channels = LAYOUTS[METHODS[method].data].channels_of(chosen.values["data"])
    with torch.device("meta"), pytest.raises(UserError) as told:
        chosen.make_networks(chosen.make_method(), channels)
    assert str(told.value) == (
        f"recipe: [networks.{section}] kind = {kind!r} is no {section} for {method!r}; "
        f"choose {fitting}"
    )


def test_a_files_broken_toml(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[data\nsize = 1")
    with pytest.raises(UserError, match=r"a\.toml is not valid TOML: .*line 1"):
        read(str(tmp_path / "a.toml"))
    (tmp_path / "b.toml").write_bytes(b"# \xff")
    with pytest.raises(UserError, match=r"b\.toml is not valid TOML"):
        read(str(tmp_path / "b.toml"))


# -------------------------------------------------------------------------------------------- kinds


def test_another_kind_drops_the_old_ones_arguments() -> None:
    text = """
        [optimizer]
        kind = "adam"
        lr = 1e-3
        betas = [0.9, 0.99]
    """
    same = recipe(text, ("optimizer.kind", "adam")).values["optimizer"]
    assert same["betas"] == (0.9, 0.99)
    other = recipe(text, ("optimizer.kind", "sgd")).values["optimizer"]
    assert other == {"kind": "sgd", "lr": 1e-2, "momentum": 0.0, "weight_decay": 0.0}


def test_arguments_for_the_new_kind_may_stand_before_it() -> None:
    text = "[optimizer]\nkind = 'adam'\nbetas = [0.9, 0.99]"
    orders = ["optimizer.momentum", "optimizer.kind"], ["optimizer.kind", "optimizer.momentum"]
    values = {"optimizer.momentum": 0.9, "optimizer.kind": "sgd"}
    for order in orders:
        chosen = recipe(text, *((key, values[key]) for key in order)).values["optimizer"]
        assert chosen["momentum"] == 0.9


def test_another_policy_keeps_the_runs_length() -> None:
    text = """
        [schedule]
        kind = "linear"
        epochs = 200
        decay_from = 0.25
    """
    chosen = recipe(text, ("schedule.steps", 7), ("schedule.kind", "cosine")).values["schedule"]
    assert chosen == {"kind": "cosine", "steps": 7, "epochs": 200}


def test_an_optimizer_for_each_update() -> None:
    text = """
        [optimizer]
        kind = "adam"
        lr = 1e-3
        betas = [0.9, 0.99]
        [optimizer.discriminator]
        lr = 4e-3
    """
    chosen = recipe(text)
    weight = torch.nn.Parameter(torch.zeros(1))
    for update, rate in (("generator", 1e-3), ("discriminator", 4e-3)):
        group = chosen.make_optimizer(update, [weight]).param_groups[0]
        assert group["lr"] == rate
        assert tuple(group["betas"]) == (0.9, 0.99)


def test_an_update_of_another_kind_does_not_lean_on_the_shared_keys() -> None:
    text = """
        [optimizer]
        kind = "adam"
        betas = [0.9, 0.99]
    """
    chosen = recipe(text, ("optimizer.generator.kind", "sgd"))
    weight = torch.nn.Parameter(torch.zeros(1))
    assert isinstance(chosen.make_optimizer("generator", [weight]), torch.optim.SGD)
    other = chosen.make_optimizer("discriminator", [weight])
    assert isinstance(other, torch.optim.Adam)
    assert tuple(other.param_groups[0]["betas"]) == (0.9, 0.99)
    assert recipe(chosen.toml()).values == chosen.values


def test_a_wrong_shared_key_is_told_though_no_update_leans_on_it() -> None:
    text = """
        [optimizer]
        kind = "adam"
        beta = [0.9, 0.99]
        [optimizer.generator]
        kind = "sgd"
        [optimizer.discriminator]
        kind = "sgd"
    """
    with pytest.raises(UserError, match="did you mean 'betas'"):
        recipe(text)


# ---------------------------------------------------------------------------------------- as a file


@pytest.mark.parametrize(
    "text",
    [
        "",
        NETWORKS,
        "[optimizer]\nlr = 1\n[optimizer.generator]\nlr = 2",
        "optimizer = {kind = 'sgd', lr = 0.5}",
        "networks = {generator = {kind = 'resnet', blocks = 1}}",
        "networks.generator.kind = 'resnet'\nnetworks.generator.blocks = 1",
        "[[data.augment]]\ntransform = 'Blur'\np = 0.5\n[[data.augment]]\ntransform = 'GaussNoise'",
        "data.augment = [{transform = 'Blur'}]",
    ],
)
def test_the_whole_recipe_round_trips(text: str) -> None:
    first = recipe(text, ("data.size", 64))
    again = resolve(tomlkit.parse(first.toml()), [])
    assert again.values == first.values
    assert again.toml() == first.toml()
    written = tomlkit.parse(first.toml()).unwrap()
    assert written["data"]["load_ratio"] == 286 / 256  # defaults are spelled out


def test_comments_and_order_are_kept() -> None:
    text = textwrap.dedent("""
        # What this is.

        [schedule]
        steps = 10        # ten
        [data]            # two folders
        # before
        size = 128        # the size
        domains = ["x", "y"]
    """)
    written = resolve(tomlkit.parse(text), [("data.size", 64)], "cyclegan").toml()
    for comment in ("# What this is.", "# ten", "# two folders", "# before", "# the size"):
        assert comment in written
    assert "steps = 10        # ten" in written
    assert written.index("[schedule]") < written.index("[data]")
    assert tomlkit.parse(written).unwrap()["data"]["size"] == 64


def test_folders_are_found_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is resumed from another directory than it was started in."""
    monkeypatch.chdir(tmp_path)
    overrides = [("data.domains", ["a", "b"]), ("data.validation", ["c", str(tmp_path / "d")])]
    written = tomlkit.parse(resolve(tomlkit.parse(""), overrides, "cyclegan").toml()).unwrap()
    assert written["data"]["domains"] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert written["data"]["validation"] == [str(tmp_path / "c"), str(tmp_path / "d")]


def test_the_header_tells_equal_runs_apart_from_different_ones_only() -> None:
    one = recipe("", ("run.device", "cpu"), ("data.workers", 2), ("run.log_every", 5)).header()
    two = recipe("", ("data.domains", ["elsewhere", "too"])).header()
    assert one == two
    assert json.loads(json.dumps(one)) == one
    assert recipe("", ("run.seed", 5)).header() != one


# ----------------------------------------------------------------------------- the recipes on offer


def test_there_are_recipes() -> None:
    assert {"cyclegan", "cyclegan-small", "demo"} <= set(recipe_names())


SMALL = {
    "resnet": {"filters": 4, "blocks": 1},
    "unet": {"filters": 4},
    "patch": {"filters": 4, "layers": 1},
    "dcgan": {"filters": 4, "latent": 8},
    "dcgan-discriminator": {"filters": 4},
}


def shrunken(name: str) -> list[tuple[str, Any]]:
    overrides: list[tuple[str, Any]] = [("data.size", 16), ("data.batch_size", 2)]
    for section, table in read(name).unwrap().get("networks", {}).items():
        for key, value in SMALL.get(table["kind"], {}).items():
            overrides.append((f"networks.{section}.{key}", value))
    return overrides


@pytest.mark.parametrize("name", recipe_names())
class TestEveryRecipe:
    def test_its_header_says_what_it_is_and_how_to_run_it(self, name: str) -> None:
        text = (recipes_folder() / f"{name}.toml").read_text(encoding="utf-8")
        header = text[: text.index("\n\n")]
        assert all(line.startswith("#") for line in header.splitlines())
        assert len(header.splitlines()[0]) > 20
        assert "Data:" in header
        assert any(word in header for word in ("minute", "hour", "day"))
        run = next(line for line in header.splitlines() if "Run:" in line)
        method = read(name).unwrap()["method"]["name"]
        assert f"translate train {method}" in run or "make " in run
        if "translate" in run and name != method:
            assert f"--recipe {name}" in run

    def test_it_round_trips(self, name: str) -> None:
        first = resolve(read(name), [])
        written = first.toml()
        assert resolve(tomlkit.parse(written), []).values == first.values
        for line in read(name).as_string().splitlines():
            comment = line.partition("#")[2]
            assert comment in written

    def test_its_networks_can_be_built(self, name: str) -> None:
        chosen = resolve(read(name), [])
        method = chosen.make_method()
        channels = LAYOUTS[method.data].channels_of(chosen.values["data"])
        with torch.device("meta"):
            nets, describe = chosen.make_networks(method, channels)
        assert set(nets) == set(describe)
        trained = {name for update in method.updates for name in update.trains}
        assert trained <= set(nets)
        for net in nets.values():
            assert sum(p.numel() for p in net.parameters()) > 1000

    def test_it_takes_two_steps(
        self, name: str, data_of: Callable[..., Any], command: Callable[..., Any], tmp_path: Path
    ) -> None:
        words = [f"--set={key}={json.dumps(value)}" for key, value in shrunken(name)]
        outcome = command(
            *("train", read(name).unwrap()["method"]["name"], "--recipe", name),
            *(*data_of(name, tmp_path), "--out", tmp_path / "run"),
            *("--steps", 2, "--device", "cpu"),
            *words,
        )
        assert outcome.code == 0
        last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
        assert last["step"] == 2
        assert last["skipped"] == 0


# ----------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.lr", 1.0),
        ("data.size", 32),
        ("data.batch_size", 3),
        ("networks.generator.blocks", 2),
        ("method.pool_size", 4),
        ("run.seed", 3),
        ("run.precision", "bf16"),
        ("data.domains", ["a", "b"]),
        ("schedule.decay_from", 0.25),
    ],
)
def test_a_resumed_run_refuses_changes_by_name(model: Path, key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"cannot change {key}:"):
        open_run(model, [(key, value)], "cyclegan")


def test_all_changes_are_named_at_once(model: Path) -> None:
    with pytest.raises(UserError, match=r"cannot change data\.size, run\.seed:"):
        open_run(model, [("run.seed", 3), ("data.size", 32)], None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schedule.steps", 99),
        ("schedule.epochs", 9),
        ("data.workers", 1),
        ("data.max_broken", 0.5),
        ("run.device", "cuda:1"),
        ("run.log_every", 7),
        ("run.keep", 5),
        ("run.seed", 0),  # no change
    ],
)
def test_a_resumed_run_may_change_what_it_does_not_compute(
    model: Path, key: str, value: object
) -> None:
    section, name = key.split(".")
    assert open_run(model, [(key, value)], "cyclegan").values[section][name] == value


def test_changed_keys_in_nested_tables() -> None:
    one = recipe("[optimizer.generator]\nlr = 1")
    assert changed_keys(one, recipe("[optimizer.generator]\nlr = 1")) == []
    assert changed_keys(one, recipe("[optimizer.generator]\nlr = 2")) == ["optimizer.generator.lr"]
    assert "optimizer.kind" in changed_keys(one, recipe())


# ------------------------------------------------------------------------------- what build refuses


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("data.size", -4, "[data] size must be"),
        ("data.size", 18, "[data] size must be a multiple of 4, not 18"),
        ("data.size", 4, "[networks.discriminator] layers = 1 needs pictures of 6 pixels or more"),
        ("data.batch_size", 0, "[data] batch_size must be 1 or more"),
        ("data.load_ratio", 0.5, "[data] load_ratio must be 1 or more"),
        ("data.max_broken", 2.0, "[data]"),
        ("data.validation_share", 0.99, "validation_share"),
        ("data.workers", -1, "[data] workers must be 0 or more"),
        ("data.augment", [{"transform": "Blurr"}], "did you mean 'Blur'"),
        ("data.augment", [{"transform": "CenterCrop", "height": 4, "width": 4}], "must keep size"),
        ("method.lambda_cycle", -1.0, "[method] weights must be 0 or more"),
        ("method.pool_size", -1, "[method] pool_size must be 0 or more"),
        ("networks.generator.filters", 0, "[networks.generator] filters must be 1 or more"),
        ("optimizer.lr", -1.0, "[optimizer]"),
        ("schedule.decay_from", 2.0, "[schedule] decay_from"),
        ("schedule.steps", -1, "[schedule] steps and epochs must be 0 or more"),
        ("run.seed", -1, "[run] seed must be"),
        ("run.seed", 2**64, "[run] seed must be"),
        ("run.accumulate", 0, "[run] accumulate must be 1 or more"),
        ("run.precision", "fp8", "[run] precision 'fp8': choose auto, fp32, bf16, fp16"),
        ("run.device", "gpu", "no device 'gpu' here; choose cpu"),
    ],
)
def test_numbers_out_of_range(
    domains: tuple[Path, Path], key: str, value: object, says: str
) -> None:
    folders = [str(folder) for folder in domains]
    small = {"networks.generator.filters": 4, "networks.discriminator.filters": 4}
    small |= {"networks.generator.blocks": 1, "networks.discriminator.layers": 1}
    overrides = [("data.domains", folders), ("data.size", 16), ("schedule.steps", 1)]
    chosen = resolve(
        tomlkit.parse(textwrap.dedent(NETWORKS)),
        [*overrides, *small.items(), ("run.device", "cpu"), (key, value)],
        "cyclegan",
    )
    with pytest.raises(UserError) as told:
        build(chosen, find_device(chosen.values["run"]["device"]), lambda sentence: None)
    assert says in str(told.value)
    assert "\n" not in str(told.value)
