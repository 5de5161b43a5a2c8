"""Recipes: published schedules and each paper's own, shortened recipes, and recipe files that are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import methods
from methods import recipe
from methods.expert import Augmentation, Schedule, Stage
from methods.options import canonical_name
from methods.recipe import PUBLISHED, QUICK, Recipe
from shifts.errors import BadInput

LONGER = "balpoe:autoaugment=true"
EPOCHS = (0, 3, 4, 5, 159, 160, 179, 180, 199)


def first_stage(method: str, chosen: Recipe = PUBLISHED) -> Stage:
    return methods.get(method).stages(chosen)[0]


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
    assert recipe.get("published", "cifar10").lr == 0.05
    assert recipe.get("published-x0.1", "cifar10").lr == 0.05
    assert recipe.get("published", "cifar100") == PUBLISHED
    assert recipe.get("quick", "cifar10") == QUICK


def test_quick_takes_more_steps_on_mosaics_and_is_itself_elsewhere() -> None:
    mosaics = recipe.get("quick", "embedded_mosaics")
    assert mosaics == replace(QUICK, epochs=32, milestones=(26, 30), batch_size=32, lr=0.2)
    assert all(recipe.get("quick", name) == QUICK for name in ("embedded", "cifar100", "voc_mlt"))


def test_a_tenth_of_published() -> None:
    short = recipe.get("published-x0.1", "cifar100")
    assert short == replace(PUBLISHED, name="published-x0.1", epochs=20, milestones=(16, 18), warmup=0)
    doubled = recipe.get("published-x2", "cifar100")
    assert (doubled.epochs, doubled.milestones, doubled.warmup) == (400, (320, 360), 10)
    assert recipe.get("published-x0.10", "cifar100").name == "published-x0.1"


@pytest.mark.parametrize(("setting", "text"), recipe.PUBLISHED_OPTIONS.items())
def test_options_of_the_published_files_are_canonical(setting: tuple[str, str], text: str) -> None:
    method, dataset = setting
    assert canonical_name(methods.get(text)) == text
    assert text.startswith(f"{method}:")
    assert recipe.get("published", dataset).name.startswith("published")


def test_balpoes_longer_training() -> None:
    plain, longer = (first_stage(name, recipe.get("published-x2", "cifar100")) for name in ("balpoe", LONGER))
    assert longer.epochs == 400
    assert longer.augmentation == replace(plain.augmentation, autoaugment=True, rotation=0.0)
    assert replace(longer, augmentation=plain.augmentation, step=plain.step) == plain


def test_bfloat16_is_a_name_of_its_own() -> None:
    assert recipe.get("published-bf16", "cifar100") == replace(PUBLISHED, name="published-bf16", precision="bf16")
    short = recipe.get("published-x0.1-bf16", "cifar100")
    assert (short.name, short.precision, short.epochs) == ("published-x0.1-bf16", "bf16", 20)
    assert recipe.get("quick-bf16", "embedded") == replace(QUICK, name="quick-bf16", precision="bf16")
    for wrong in ("published-bf1", "published-x-bf16", "quick-bf16-bf16", "published-bf16-x0.1"):
        with pytest.raises(BadInput, match="published"):
            recipe.get(wrong, "cifar100")


@pytest.mark.parametrize("factor", ["0.005", "0.0001"])
def test_one_epoch_is_the_least(factor: str) -> None:
    one = recipe.get(f"published-x{factor}", "cifar100")
    assert one.epochs == 1
    assert first_stage("sade", one).schedule.factor(0) == 1.0
    assert first_stage("ldam_drw", one).epochs == 1


@pytest.mark.parametrize(
    "text", ["published-x0", "published-x-1", "published-xabc", "published-xinf", "published-xnan"]
)
def test_factors_that_are_no_positive_numbers(text: str) -> None:
    with pytest.raises(BadInput, match="needs a number F > 0"):
        recipe.get(text, "cifar100")


@pytest.mark.parametrize("text", ["qick", "publised", "published-xF", "FILE.toml2"])
def test_unknown_recipes_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="recipe"):
        recipe.get(text, "cifar100")


def test_the_nearest_recipe_is_named_first() -> None:
    with pytest.raises(BadInput, match="unknown recipe 'qick'; allowed: quick"):
        recipe.get("qick", "cifar100")


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_gives_any_field_and_the_rest_stays_published(tmp_path: Path) -> None:
    text = 'epochs = 3\nlr = 1\nmilestones = [1, 2]\nfactors = [1, 0.5]\nflip = false\nprecision = "bf16"\n'
    read = recipe.get(str(written(tmp_path, text)), "cifar10")
    assert read == replace(
        PUBLISHED, name="mine", epochs=3, lr=1.0, milestones=(1, 2), factors=(1.0, 0.5), flip=False, precision="bf16"
    )
    assert [type(read.lr), type(read.factors[0]), type(read.milestones)] == [float, float, tuple]
    assert recipe.read(written(tmp_path, 'name = "other"')) == replace(PUBLISHED, name="other")


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
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        recipe.read(written(tmp_path, text))


def test_a_missing_file_and_one_that_is_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"missing\.toml: No such file"):
        recipe.get(str(tmp_path / "missing.toml"), "cifar100")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"bytes\.toml is not TOML"):
        recipe.read(tmp_path / "bytes.toml")


@pytest.mark.parametrize("method", methods.METHODS)
@pytest.mark.parametrize("chosen", [PUBLISHED, QUICK, PUBLISHED.scaled(0.005, "one")], ids=lambda chosen: chosen.name)
def test_every_method_has_stages_under_every_recipe(method: str, chosen: Recipe) -> None:
    for stage in methods.get(method).stages(chosen):
        assert stage.epochs >= 1
        factors = [stage.schedule.factor(epoch) for epoch in range(stage.epochs)]
        assert all(0 <= factor <= 1 for factor in factors)
        assert factors[0] > 0


def test_settings_are_all_fields_but_the_name() -> None:
    settings: dict[str, Any] = PUBLISHED.settings()
    assert "name" not in settings
    assert Recipe("published", **settings) == PUBLISHED
