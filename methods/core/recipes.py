"""Named recipes and what datasets and methods change in them."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from methods.core.recipe import _SIZED, Recipe
from methods.core.toml_fields import read_fields
from methods.core.weights import HUB, cached
from shifts.common.errors import BadInput, check_name

QUICK = Recipe(
    "quick", backbone="resnet8", epochs=16, batch_size=64, lr=0.05, warmup=2, milestones=(13, 15), strong=False
)


PUBLISHED = Recipe("published")


_RESIZED: dict[str, Any] = {"crop": "resized", "size": 224, "rotation": 0.0, "drw_factors": (0.1, 0.01)}


_LABEL_SETS: dict[str, Any] = {
    "backbone": "resnet50",
    "pretrained": HUB,
    "fine_tune": True,
    "batch_size": 32,
    "lr": 0.02,
    "nesterov": False,
    "weight_decay": 1e-4,
    "jitter": 0.4,
    "warmup": 0,
    "warmup_steps": 500,
    "clip": 35.0,
    **_RESIZED,
    "crop": "whole",
}


_HUNDRED: dict[str, Any] = {"epochs": 100, "milestones": (60, 80), "drw_epoch": 80, "weight_decay": 2e-4}


DATASET_CHANGES: dict[str, dict[str, Any]] = {
    "cifar10": {"lr": 0.05},
    "imagenet_lt": {"backbone": "resnext50", "batch_size": 256, "jitter": 0.4, **_HUNDRED, **_RESIZED},
    "inaturalist2018": {"backbone": "resnet50", "batch_size": 512, "lr": 0.2, **_HUNDRED, **_RESIZED},
    "places_lt": {
        "backbone": "resnet152",
        "pretrained": HUB,
        "epochs": 30,
        "lr": 0.01,
        "trunk_lr": 0.1,
        "weight_decay": 4e-4,
        "warmup": 0,
        "milestones": (10, 20),
        "drw_epoch": 20,
        "jitter": 0.4,
        **_RESIZED,
    },
    "voc_mlt": {"epochs": 27, "milestones": (17, 24), **_LABEL_SETS},
    "coco_mlt": {"epochs": 95, "milestones": (59, 83), **_LABEL_SETS},
}
"""What `published` changes on a dataset. CIFAR-10: the SADE maintainers' answer to a user, taken for every method."""


_RIDE = {"imagenet_lt": "diversity=-0.2,gamma=0.02,topk=50", "inaturalist2018": "diversity=-0.2,gamma=0.015,topk=50"}


PUBLISHED_OPTIONS = {
    **{(name, dataset): f"{name}:{text}" for dataset, text in _RIDE.items() for name in ("ride", "ride_distilled")},
    ("sade", "cifar10"): "sade:reduced=false",
    ("sade", "inaturalist2018"): "sade:tau=1",
    ("sade", "places_lt"): "sade:tau=1",
    ("distribution_balanced", "coco_mlt"): "distribution_balanced:kappa=2,mu=0.2",
}
"""What (method, dataset) are called with the constants of the published files, where these are not the defaults."""


QUICK_CHANGES: dict[str, dict[str, Any]] = {
    "embedded_mosaics": {"epochs": 32, "milestones": (26, 30), "batch_size": 32, "lr": 0.2}
}
"""What `quick` changes on a dataset: 887 small pictures need more steps."""


WEIGHTS_IF_THERE = ("voc_mlt", "coco_mlt")
"""Datasets whose published recipe becomes `published-scratch` where there are no pre-trained weights."""


NAMED = ("quick", "published", "quick-xF", "published-xF", "published[-xF]-scratch")


RECIPES = (*NAMED, "FILE.toml")


_FORM = re.compile(r"(?P<name>quick|published)(?:-x(?P<factor>.*?))?(?P<scratch>-scratch)?")


_BF16 = "-bf16"


MOST = 1e6
"""Largest factor of a recipe's epochs."""


def get(text: str, dataset: str) -> Recipe:
    """Return the recipe that `text` names: quick, published, either with -xF (F > 0), each also -bf16, or a TOML file.

    `-scratch`, before `-bf16`, leaves out pre-trained weights; on VOC-MLT and COCO-MLT that is done, and the recipe so
    named, where torch.hub's cache has none. Raises BadInput.
    """
    if text.endswith(".toml"):
        return read(Path(text), dataset)
    if sized := _SIZED.fullmatch(text):
        raise BadInput(f"recipe {text!r}: give --recipe {sized[1]} --size {sized[2]}")
    return _named("recipe", text, dataset, RECIPES)


def _named(kind: str, text: str, dataset: str, allowed: Sequence[str]) -> Recipe:
    """Do as `get`, without files; kind and allowed are for messages."""
    if text.endswith(_BF16):
        recipe = _named(kind, text.removesuffix(_BF16), dataset, allowed)
        if recipe.precision == "fp32":
            return replace(recipe, name=recipe.name + _BF16, precision="bf16")
    form = _FORM.fullmatch(text)
    if form is None:
        check_name(kind, text, allowed)
        raise BadInput(f"{kind} {text!r} stands for a form: give a number for F or the path of a TOML file")
    plain, changes = {"quick": (QUICK, QUICK_CHANGES), "published": (PUBLISHED, DATASET_CHANGES)}[form["name"]]
    recipe = replace(plain, **changes.get(dataset, {}))
    if form["factor"] is not None:
        factor = _number(form["factor"])
        if not 0 < factor <= MOST:
            raise BadInput(f"{kind} {text!r}: {plain.name}-xF needs a number F > 0, as in {plain.name}-x0.1")
        recipe = recipe.scaled(factor, f"{plain.name}-x{factor:g}")
    if form["scratch"] and not recipe.pretrained:
        raise BadInput(f"{kind} {text!r}: the {plain.name} recipe of {dataset} has no pre-trained weights to leave out")
    if form["scratch"] or (recipe.pretrained and dataset in WEIGHTS_IF_THERE and not cached(recipe.backbone)):
        recipe = replace(recipe, name=f"{recipe.name}-scratch", pretrained="", fine_tune=False)
    return recipe


def _number(text: str) -> float:
    """Parse a number; 0 where the text is none."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def read(path: Path, dataset: str) -> Recipe:
    """Read a recipe from a TOML file of Recipe fields; its name is the file's stem unless given.

    `base` names the recipe, as it is on `dataset`, that gives all other fields; where the file gives epochs, the base's
    schedule is scaled to them. Without `base` the others are those of `published` on CIFAR-100, as they are.
    Raises BadInput for a missing or unreadable file, unknown keys, values of another type or out of range, and epochs
    that end before the schedule does.
    """
    what = "recipe file"
    given = read_fields(what, path, Recipe, base=str)
    base, start = given.pop("base", None), PUBLISHED
    if base is not None:
        start = _named(f"base in {what} {path}", base, dataset, NAMED)
        if given.get("epochs", 0) > 0:
            start = start.scaled(given["epochs"] / start.epochs, start.name)
    made = replace(start, **{"name": path.stem, **given})
    _check_schedule(f"{what} {path}", made, given)
    return made


def _check_schedule(what: str, made: Recipe, given: Collection[str]) -> None:
    """Raise BadInput where the epochs end before the schedule does; `given` are the fields that the file has."""
    late = {
        "warmup": made.warmup >= made.epochs,
        "milestones": made.milestones[-1] > made.epochs,
        "drw_epoch": made.drw_epoch > made.epochs,
    }
    beyond = {name: getattr(made, name) for name, is_late in late.items() if is_late}
    if not beyond:
        return
    shown = " and ".join(
        f"{name} = {list(value) if isinstance(value, tuple) else value}" for name, value in beyond.items()
    )
    advice = "warmup must be less than epochs, milestones and drw_epoch at most epochs (which means never)"
    if missing := [name for name in beyond if name not in given]:
        advice = f'give {" and ".join(missing)} too, or base = "published" or "quick", which is scaled to epochs'
    raise BadInput(f"{what}: epochs = {made.epochs} is too short for {shown}; {advice}")
