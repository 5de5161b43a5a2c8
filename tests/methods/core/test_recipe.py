"""Recipes: published schedules and each paper's own, shortened recipes, and recipe files that are refused."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from methods import papers
from methods.core import recipes
from methods.core.options import canonical_name
from methods.core.recipe import Recipe
from methods.core.recipes import PUBLISHED, QUICK
from methods.core.stage import Augmentation, Schedule, Stage
from methods.jobs.listing import recipe_fields
from shifts.common.errors import BadInput

LONGER = "balpoe:autoaugment=true"
EPOCHS = (0, 3, 4, 5, 159, 160, 179, 180, 199)


def first_stage(method: str, chosen: Recipe = PUBLISHED) -> Stage:
    return papers.get(method).stages(chosen)[0]


def rates(stage: Stage) -> list[float]:
    return [stage.optimiser.lr * stage.schedule.factor(epoch) for epoch in EPOCHS]


@pytest.mark.parametrize("method", ["softmax", "balanced_softmax", "logit_adjusted", "balpoe", "sade"])
def test_published_setting(method: str) -> None:
    stage = first_stage(method)
    assert (stage.epochs, stage.batch_size) == (200, 128)
    assert rates(stage) == pytest.approx([0.02, 0.08, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    optimiser = stage.optimiser
    assert (optimiser.momentum, optimiser.nesterov, optimiser.weight_decay) == (0.9, True, 5e-4)
    assert stage.augmentation == Augmentation(padding=4, flip=True, rotation=15.0)
    assert stage.mixup == (0.4 if method == "balpoe" else None)
    assert stage.trainable("anything")


def test_what_ldam_drw_does_otherwise() -> None:
    stage = first_stage("ldam_drw")
    assert rates(stage) == pytest.approx([0.02, 0.08, 0.1, 0.1, 0.1, 0.001, 0.001, 1e-5, 1e-5])
    optimiser = stage.optimiser
    assert (optimiser.momentum, optimiser.nesterov, optimiser.weight_decay) == (0.9, False, 2e-4)
    assert stage.augmentation == Augmentation(padding=4, flip=True, rotation=0.0)


def test_what_ride_does_otherwise() -> None:
    stage = first_stage("ride")
    assert rates(stage) == pytest.approx([0.02, 0.08, 0.1, 0.1, 0.1, 0.001, 0.001, 1e-5, 1e-5])
    assert stage.optimiser.weight_decay == 5e-4
    assert stage.augmentation == Augmentation(padding=4, flip=True, rotation=15.0)


def test_mixup_is_an_option_of_balpoe() -> None:
    assert first_stage("balpoe:mixup=0").mixup is None
    assert first_stage("balpoe:mixup=1").mixup == 1.0


def test_schedule_without_warm_up_or_before_any_milestone() -> None:
    assert Schedule(0, (2, 3), (0.5, 0.25)).factor(0) == 1.0
    assert [Schedule(0, (2, 3), (0.5, 0.25)).factor(epoch) for epoch in (1, 2, 3, 9)] == [1.0, 0.5, 0.25, 0.25]
    assert [Schedule(4, (1,), (0.5,)).factor(epoch) for epoch in range(5)] == [0.25, 0.5, 0.75, 1.0, 0.5]


def test_cifar10_has_half_the_learning_rate() -> None:
    assert recipes.get("published", "cifar10").lr == 0.05
    assert recipes.get("published-x0.1", "cifar10").lr == 0.05
    assert recipes.get("published", "cifar100") == PUBLISHED
    assert recipes.get("quick", "cifar10") == QUICK


def test_quick_takes_more_steps_on_mosaics_and_is_itself_elsewhere() -> None:
    mosaics = recipes.get("quick", "embedded_mosaics")
    assert mosaics == replace(QUICK, epochs=32, milestones=(26, 30), batch_size=32, lr=0.2)
    assert all(recipes.get("quick", name) == QUICK for name in ("embedded", "cifar100", "voc_mlt"))


def test_a_tenth_of_published() -> None:
    short = recipes.get("published-x0.1", "cifar100")
    assert short == replace(PUBLISHED, name="published-x0.1", epochs=20, milestones=(16, 18), warmup=0)
    doubled = recipes.get("published-x2", "cifar100")
    assert (doubled.epochs, doubled.milestones, doubled.warmup) == (400, (320, 360), 10)
    assert recipes.get("published-x0.10", "cifar100").name == "published-x0.1"


def test_a_part_of_quick() -> None:
    short = recipes.get("quick-x0.25", "embedded")
    assert short == replace(QUICK, name="quick-x0.25", epochs=4, milestones=(3, 4), warmup=0)
    assert recipes.get("quick-x0.25-bf16", "embedded") == replace(short, name="quick-x0.25-bf16", precision="bf16")
    assert recipes.get("quick-x0.001", "embedded_mosaics").epochs == 1
    assert recipes.get("quick-x0.5", "embedded_mosaics").batch_size == 32
    with pytest.raises(BadInput, match="the quick recipe of voc_mlt has no pre-trained weights"):
        recipes.get("quick-scratch", "voc_mlt")


@pytest.mark.parametrize(("setting", "text"), recipes.PUBLISHED_OPTIONS.items())
def test_options_of_the_published_files_are_canonical(setting: tuple[str, str], text: str) -> None:
    method, dataset = setting
    assert canonical_name(papers.get(text)) == text
    assert text.startswith(f"{method}:")
    assert recipes.get("published", dataset).name.startswith("published")


def test_balpoes_longer_training() -> None:
    plain, longer = (first_stage(name, recipes.get("published-x2", "cifar100")) for name in ("balpoe", LONGER))
    assert longer.epochs == 400
    assert longer.augmentation == replace(plain.augmentation, autoaugment=True, rotation=0.0)
    assert replace(longer, augmentation=plain.augmentation, step=plain.step) == plain


def test_bfloat16_is_a_name_of_its_own() -> None:
    assert recipes.get("published-bf16", "cifar100") == replace(PUBLISHED, name="published-bf16", precision="bf16")
    short = recipes.get("published-x0.1-bf16", "cifar100")
    assert (short.name, short.precision, short.epochs) == ("published-x0.1-bf16", "bf16", 20)
    assert recipes.get("quick-bf16", "embedded") == replace(QUICK, name="quick-bf16", precision="bf16")
    for wrong in ("published-bf1", "published-x-bf16", "quick-bf16-bf16", "published-bf16-x0.1"):
        with pytest.raises(BadInput, match="published"):
            recipes.get(wrong, "cifar100")


@pytest.mark.parametrize("factor", ["0.005", "0.0001"])
def test_one_epoch_is_the_least(factor: str) -> None:
    one = recipes.get(f"published-x{factor}", "cifar100")
    assert one.epochs == 1
    assert first_stage("sade", one).schedule.factor(0) == 1.0
    assert first_stage("ldam_drw", one).epochs == 1


@pytest.mark.parametrize(
    "text",
    ["published-x0", "published-x-1", "published-xabc", "published-xinf", "published-xnan", "quick-x0", "quick-x1e308"],
)
def test_factors_that_are_no_positive_numbers(text: str) -> None:
    with pytest.raises(BadInput, match="needs a number F > 0"):
        recipes.get(text, "cifar100")


@pytest.mark.parametrize("text", ["qick", "publised", "published-xF", "FILE.toml2"])
def test_unknown_recipes_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="recipe"):
        recipes.get(text, "cifar100")


def test_the_nearest_recipe_is_named_first() -> None:
    with pytest.raises(BadInput, match="unknown recipe 'qick'; allowed: quick"):
        recipes.get("qick", "cifar100")


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_gives_any_field_and_the_rest_stays_published(tmp_path: Path) -> None:
    text = 'epochs = 3\nlr = 1\nwarmup = 2\nmilestones = [1, 2]\nfactors = [1, 0.5]\nflip = false\nprecision = "bf16"\n'
    read = recipes.get(str(written(tmp_path, text)), "cifar10")
    assert read == replace(
        PUBLISHED,
        name="mine",
        epochs=3,
        lr=1.0,
        warmup=2,
        milestones=(1, 2),
        factors=(1.0, 0.5),
        flip=False,
        precision="bf16",
    )
    assert [type(read.lr), type(read.factors[0]), type(read.milestones)] == [float, float, tuple]
    assert recipes.read(written(tmp_path, 'name = "other"'), "cifar10") == replace(PUBLISHED, name="other")


def test_a_base_gives_the_rest_and_its_schedule_follows_the_epochs(tmp_path: Path) -> None:
    def read(text: str, dataset: str = "embedded") -> Recipe:
        return recipes.get(str(written(tmp_path, text)), dataset)

    quick = replace(QUICK, name="mine")
    assert read('base = "quick"') == quick
    assert read('base = "quick"\nlr = 0.1') == replace(quick, lr=0.1)
    assert read('base = "quick"\nepochs = 32') == replace(quick, epochs=32, milestones=(26, 30), warmup=4)
    assert read('base = "quick"\nepochs = 3') == replace(quick, epochs=3, milestones=(2, 3), warmup=0)
    assert read('base = "quick"\nepochs = 1').epochs == 1
    # what the file gives is taken as it is
    given = read('base = "quick"\nepochs = 32\nmilestones = [10, 32]\nwarmup = 1')
    assert (given.epochs, given.milestones, given.warmup) == (32, (10, 32), 1)
    assert read('base = "published-x0.1-bf16"') == replace(recipes.get("published-x0.1-bf16", "embedded"), name="mine")
    # a base is the recipe of that name on the dataset; without it the fields are those of CIFAR-100
    assert read('base = "quick"', "embedded_mosaics").batch_size == 32
    assert read('base = "published"', "cifar10").lr == 0.05
    assert read("flip = true", "cifar10").lr == 0.1
    tenth = read('base = "published"\nepochs = 10', "imagenet_lt")
    assert tenth == replace(recipes.get("published-x0.1", "imagenet_lt"), name="mine")
    assert tenth.drw_epoch == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 3", r"epochs = 3 is too short for warmup = 5 and milestones = \[160, 180\]; give warmup and milest"),
        ("epochs = 170", r"epochs = 170 is too short for milestones = \[160, 180\]; give milestones too, or base = "),
        ("epochs = 5\nmilestones = [4, 5]", "for warmup = 5; give warmup too, or base = "),
        ("epochs = 5\nmilestones = [4, 5]\nwarmup = 5", "for warmup = 5; warmup must be less than epochs"),
        ("epochs = 5\nmilestones = [4, 6]\nwarmup = 1", r"for milestones = \[4, 6\]; warmup must be less"),
        ('base = "quick"\nmilestones = [13, 17]', r"epochs = 16 is too short for milestones = \[13, 17\]; warmup must"),
        ('base = "quick"\nwarmup = 16', "epochs = 16 is too short for warmup = 16; warmup must"),
        ("drw_epoch = 201", "epochs = 200 is too short for drw_epoch = 201; warmup must"),
    ],
)
def test_a_schedule_that_its_epochs_do_not_reach_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        recipes.read(written(tmp_path, text), "embedded")


def test_epochs_themselves_mean_no_drop(tmp_path: Path) -> None:
    one = recipes.read(written(tmp_path, "epochs = 1\nwarmup = 0\nmilestones = [1, 1]\ndrw_epoch = 1"), "embedded")
    assert first_stage("softmax", one).schedule.factor(0) == 1.0


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    read = recipes.read(written(tmp_path, "\ufeffflip = false"), "embedded")
    assert read == replace(PUBLISHED, name="mine", flip=False)


def test_the_fields_of_a_file_are_listed_with_type_and_default() -> None:
    listed = {name.strip(): about for name, about in recipe_fields()}
    assert list(listed) == [field.name for field in fields(Recipe)]
    assert listed["epochs"] == "int = 200"
    assert listed["milestones"] == "list of int = [160, 180]"
    assert listed["nesterov"] == "bool = true"
    assert listed["precision"] == '"fp32" | "bf16" = "fp32"'
    assert listed["crop"] == '"pad" | "resized" | "whole" = "pad"'


def test_the_listed_defaults_are_a_file(tmp_path: Path) -> None:
    lines = [f"{name.strip()} = {about.partition(' = ')[2]}" for name, about in recipe_fields() if " = " in about]
    assert recipes.read(written(tmp_path, "\n".join(lines)), "embedded") == replace(PUBLISHED, name="mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "unknown key in recipe file .*'epoch'; allowed: epochs"),
        ('lr = "fast"', "lr in recipe file .* must be of type float, not 'fast'"),
        ("epochs = 3.0", "epochs in recipe file .* must be of type int, not 3.0"),
        ("epochs = true", "epochs in recipe file .* must be of type int, not True"),
        ("lr = true", "lr in recipe file .* must be of type float, not True"),
        ("flip = 1", "flip in recipe file .* must be of type bool, not 1"),
        ("backbone = 8", "backbone in recipe file .* must be of type str, not 8"),
        ("milestones = 160", "milestones in recipe file .* must be a list, not 160"),
        ('milestones = ["a", "b"]', "milestones in recipe file .* must be of type int, not 'a'"),
        ('precision = "fp16"', "unknown precision in recipe file .* 'fp16'; allowed: .*bf16"),
        ("epochs = ", "mine.toml is not TOML"),
        ("epochs = 0", "epochs >= 1"),
        ("batch_size = 1", "batch_size >= 2"),
        ("lr = 0", "lr > 0"),
        ("lr = nan", "finite"),
        ("lr = inf", "finite"),
        ("weight_decay = nan", "finite"),
        ("factors = [nan, 0.1]", "finite"),
        ("rotation = inf", "finite"),
        ("milestones = [180, 160]", "milestones must ascend"),
        ("milestones = [160]", "two milestones"),
        ("milestones = []\nfactors = []", "two milestones"),
        ("factors = [0.1]", "two milestones"),
        ("momentum = 0", "nesterov needs momentum"),
        ("momentum = 1", "momentum in 0..1"),
        ("momentum = -0.9\nnesterov = false", "momentum in 0..1"),
        ("weight_decay = -0.1", "weight_decay, .* >= 0"),
        ("rotation = -15", "rotation, .* >= 0"),
        ("factors = [0.1, -0.1]", "factors, .* >= 0"),
        ("drw_factors = [-0.1, 0.1]", "drw_factors >= 0"),
        ("milestones = [-1, 160]", "ascend from 0"),
        ("batch_size = 0", "batch_size >= 2"),
        ("padding = -1", "padding >= 0"),
        ("size = -1", "size > 0"),
        ("drw_epoch = -1", "drw_epoch >= 0"),
        ("trunk_lr = 0", "trunk_lr > 0"),
        (f"lr = 1{'0' * 400}", "lr in recipe file .* is too large a number"),
        (f'base = "quick"\nepochs = 1{"0" * 400}', "epochs in recipe file .* is too large a number"),
        ("epochs = 2024-01-01", "epochs in recipe file .* must be of type int"),
        ("epochs.x = 1", "epochs in recipe file .* must be of type int"),
        ("[more]\nepochs = 3", "unknown key in recipe file .*'more'"),
        ('name = " "', "needs a name"),
        ("base = 3", "base in recipe file .* must be of type str, not 3"),
        ('base = "qick"', "unknown base in recipe file .* 'qick'; allowed: quick, "),
        ('base = "other.toml"', "unknown base in recipe file .* 'other.toml'; allowed: quick, "),
        ('base = "quick-x0"', "base in recipe file .*: quick-xF needs a number F > 0"),
        ('base = "quick"\nepochs = 0', "epochs >= 1"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        recipes.read(written(tmp_path, text), "embedded")


def test_a_missing_file_and_one_that_is_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"missing\.toml: No such file"):
        recipes.get(str(tmp_path / "missing.toml"), "cifar100")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"bytes\.toml is not TOML"):
        recipes.read(tmp_path / "bytes.toml", "embedded")


@pytest.mark.parametrize("method", papers.METHODS)
@pytest.mark.parametrize("chosen", [PUBLISHED, QUICK, PUBLISHED.scaled(0.005, "one")], ids=lambda chosen: chosen.name)
def test_every_method_has_stages_under_every_recipe(method: str, chosen: Recipe) -> None:
    for stage in papers.get(method).stages(chosen):
        assert stage.epochs >= 1
        factors = [stage.schedule.factor(epoch) for epoch in range(stage.epochs)]
        assert all(0 <= factor <= 1 for factor in factors)
        assert factors[0] > 0


def test_settings_are_all_fields_but_the_name() -> None:
    settings: dict[str, Any] = PUBLISHED.settings()
    assert "name" not in settings
    assert Recipe("published", **settings) == PUBLISHED
