import datetime
import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import torch
from starts import SYSTEMS, System, every_system, table_of

from translate.data.sets import LAYOUTS
from translate.device import find_device
from translate.errors import UserError
from translate.methods import METHODS
from translate.recipe import Recipe, changed_keys, resolve
from translate.recipe_file import default_recipe, parse_override, read, recipe_names, recipes_of
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


@every_system([system for system in SYSTEMS if system.kind != "points"])
def test_missing_pictures_are_asked_for(system: System) -> None:
    chosen = resolve(read(system.recipe), [("run.device", "cpu")], system.method)
    with pytest.raises(UserError, match=r"^give .*--") as told:
        build(chosen, torch.device("cpu"), lambda sentence: None)
    assert str(told.value) == f"give {LAYOUTS[system.kind].wanted}"


def test_neither_file_nor_command_names_a_method() -> None:
    with pytest.raises(UserError, match="must say name"):
        recipe("", method=None)


def test_a_recipe_for_another_method_is_refused() -> None:
    with pytest.raises(UserError, match="for the method 'pix2pix', not 'cyclegan'"):
        recipe("[method]\nname = 'pix2pix'")


def test_a_recipe_of_the_family_is_taken_under_its_name() -> None:
    """``translate train gan`` is the command of all that draws from noise."""
    for method in ("gan", "began", None):
        assert resolve(read("faces-began"), [], method).method == "began"
    for method, recipe_name in (("ebgan", "faces-began"), ("began", "faces-dcgan")):
        says = f"for the method '{table_of(recipe_name)['method']['name']}', not '{method}'"
        with pytest.raises(UserError, match=says):
            resolve(read(recipe_name), [], method)


def test_a_recipes_name_given_as_a_method_is_no_method() -> None:
    methods = "began, cgan, cyclegan, ebgan, gan, ogan, pix2pix"
    with pytest.raises(UserError, match=f"no method is called 'demo'; choose {methods}"):
        resolve(default_recipe("demo"), [], "demo")


def test_without_a_recipe_of_its_name_a_method_lists_those_of_its_family() -> None:
    assert default_recipe("cyclegan") == read("cyclegan")
    for method in ("gan", "began"):
        with pytest.raises(UserError) as told:
            default_recipe(method)
        fitting = ", ".join(recipes_of(method))
        assert str(told.value) == f"choose what to train, with --recipe: {fitting}"
    names = {table_of(name)["method"]["name"] for name in recipes_of("gan")}
    assert names == {"gan", "ebgan", "began", "ogan"}
    assert {table_of(name)["method"]["name"] for name in recipes_of("began")} == {"began"}
    unnamed = set(recipe_names()) - {n for method in METHODS for n in recipes_of(method)}
    assert not unnamed
    assert default_recipe("one of another package") == tomlkit.document()


def test_a_method_that_needs_a_network_says_which() -> None:
    chosen = recipe("[networks.generator]\nkind = 'resnet'")
    with torch.device("meta"), pytest.raises(UserError, match=r"needs \[networks.discriminator\]"):
        chosen.make_networks(chosen.make_method(), {"x": 3, "y": 3})


WITH_CLASSES = "dcgan-discriminator, biggan-discriminator"
JUDGES = (
    "patch, pixel, dcgan-discriminator, residual-discriminator, bottleneck-discriminator, "
    "biggan-discriminator, mlp-discriminator, progressive-discriminator"
)
DRAWING = "dcgan, residual, bottleneck, biggan, began, mlp, progressive"


@pytest.mark.parametrize(
    ("name", "section", "kind", "fitting"),
    [
        ("cgan", "discriminator", "patch", WITH_CLASSES),
        ("cgan", "generator", "unet", "dcgan, biggan"),
        ("cyclegan", "discriminator", "unet", JUDGES),
        ("cyclegan", "generator", "patch", "resnet, unet"),
        ("pix2pix", "generator", "dcgan", "resnet, unet"),
        ("faces-dcgan", "discriminator", "autoencoder", JUDGES),
        ("faces-dcgan", "generator", "patch", DRAWING),
        ("faces-ebgan", "discriminator", "dcgan-discriminator", "autoencoder, began-autoencoder"),
        ("faces-began", "generator", "resnet", DRAWING),
        ("faces-ogan", "encoder", "dcgan-discriminator", "dcgan-encoder, mapping"),
    ],
)
def test_a_network_that_does_not_suit_the_method(
    name: str, section: str, kind: str, fitting: str
) -> None:
    chosen = resolve(read(name), [(f"networks.{section}.kind", kind)])
    channels = chosen.layout.channels_of(chosen.values["data"])
    with torch.device("meta"), pytest.raises(UserError) as told:
        chosen.make_networks(chosen.make_method(), channels)
    assert str(told.value) == (
        f"recipe: [networks.{section}] kind = {kind!r} is no {section} for {chosen.method!r}; "
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


def test_data_of_a_kind_that_the_method_takes() -> None:
    """The first of its kinds unless the recipe says another, whose keys are others."""
    points = {"kind": "points", "distribution": "8gaussians", "points": 100_000}
    faces = resolve(read("faces-dcgan"), [], "gan")
    toy = resolve(read("8gaussians-wgan"), [], "gan")
    assert faces.values["data"]["kind"] == "unlabelled"
    assert faces.layout is LAYOUTS["unlabelled"]
    assert toy.layout is LAYOUTS["points"]
    assert toy.values["data"].items() >= points.items()
    assert (faces.size, toy.size) == (64, None)
    for name, key, says in (
        ("8gaussians-wgan", "data.size", "no key 'size'"),
        ("faces-dcgan", "data.points", "no key 'points'"),
        ("faces-dcgan", "data.kind", "kind = 3 is not known; choose points, text, unlabelled"),
    ):
        with pytest.raises(UserError) as told:
            resolve(read(name), [(key, 3)])
        assert says in str(told.value)
    with pytest.raises(UserError, match=r"\[data\] kind = 'points' is not known; .*unlabelled"):
        resolve(read("faces-began"), [("data.kind", "points")])


def test_keys_of_a_constructors_parts_are_the_sections() -> None:
    """A discriminator's handicap is of [method], how pictures are prepared of [data]."""
    text = """
        [method]
        name = "gan"
        noise = 0.1
        augment = ["colour", "cutout"]
        [data]
        size = 32
        aspect = [2, 1]
    """
    chosen = resolve(tomlkit.parse(textwrap.dedent(text)), [("method.balance", 0.75)])
    method = chosen.values["method"]
    handicap = {"noise": 0.1, "augment": ("colour", "cutout"), "balance": 0.75, "noise_until": 1.0}
    assert method.items() >= handicap.items()
    assert chosen.values["data"]["aspect"] == (2, 1)
    made: Any = chosen.make_method()
    assert (made.handicap.noise, made.handicap.augment) == (0.1, ("colour", "cutout"))
    assert made.handicap is made.adversary.handicap
    for key, value, says in (
        ("method.noyse", 0.1, "did you mean 'noise'?"),
        ("method.augment", ["color"], "should be 'colour', 'translation' or 'cutout'"),
        ("method.noise", "much", 'noise = "much": should be number'),
        ("data.aspect", [1, 2, 3], "aspect = [1, 2, 3]: should be a list of another length"),
    ):
        with pytest.raises(UserError) as told:
            resolve(tomlkit.parse(textwrap.dedent(text)), [(key, value)])
        assert says in str(told.value)
    for key, value, says in (
        ("method.noise", -1.0, "noise must be 0 or more"),
        ("method.augment_target", 1.5, "augment_target must be 0 or more and below 1"),
    ):
        wrong = resolve(tomlkit.parse(textwrap.dedent(text)), [(key, value)])
        with pytest.raises(UserError) as told:
            wrong.make_method()
        assert str(told.value).startswith(f"recipe: [method] {says}")


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
