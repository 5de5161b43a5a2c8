"""Recipes: how long, how fast and with which augmentation a method is trained.

`published` is the setting that RIDE, SADE, BalPoE and their baselines share on CIFAR100-LT (200 epochs, batch 128,
SGD lr 0.1, momentum 0.9, Nesterov, weight decay 5e-4, warm-up 5, x0.1 from epoch 160, x0.01 from 180; crop with
padding 4, flip, rotation 15); what a paper does differently stands in its method's `stages`. `published-x0.1` is the
same shortened to a tenth, `published-bf16` the same in bfloat16, each under its own name. `quick` trains a small
network for minutes on a CPU; it is nobody's published setting; `quick-x0.1` is a tenth of it, for smoke tests. A TOML
file may give any of the fields, and as `base` the named recipe that gives the others (`read`).

Data of 224 pixels (`DATASET_CHANGES`): ImageNet-LT and iNaturalist 2018 as in RIDE's configuration files, 100 epochs,
warm-up 5, x0.1 from 60, x0.01 from 80, re-weighting from 80, weight decay 2e-4; ResNeXt-50, batch 256, lr 0.1, and
ResNet-50, batch 512, lr 0.2. ImageNet-LT with another backbone is a TOML file of the same values
(`examples/imagenet_lt_resnet10.toml`). SADE's own files have the same for iNaturalist, but for ImageNet-LT 180 epochs,
batch 64, lr 0.025, cosine, weight decay 5e-4: not offered here. Places-LT as in SADE's file: pre-trained ResNet-152 at
full width, 30 epochs, batch 128, lr 0.01 for heads and 0.001 for all else, weight decay 4e-4, x0.1 from 10, x0.01 from
20, no warm-up; assumed: re-weighting from 20 (no file of RIDE's exists). What methods have as options stays with them:
tau = 1 of SADE on iNaturalist and Places-LT is `sade:tau=1`, RIDE's gamma and lambda stand in its docstring.

VOC-MLT and COCO-MLT as in the released code of Wu et al., ECCV 2020, which LTML follows: pre-trained ResNet-50, stem
and first stage frozen, BatchNorm in evaluation mode, whole pictures at 224 pixels, batch 32, lr 0.02, momentum 0.9,
weight decay 1e-4, 500 steps of warm-up from a third of the rate, x0.1 at 5/8 and x0.01 at 7/8, gradient norms clipped
at 35. Its 8 epochs are 3,875 / 22,560 draws of its sampler each; here an epoch is 1,142 / 1,909 images, so 27 / 95
epochs make as many steps. Not expressed: hue and channel-swap distortion (here jitter 0.4 of brightness, contrast and
saturation), dropped last batches, and the neck between pooling and classifier.
Where torch.hub's cache has no ResNet-50, they are trained from scratch as `published-scratch`.
"""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from methods.expert import Augmentation, Schedule, Sgd, Stage, Step
from methods.networks.pretrained import BACKBONES as PRETRAINED
from methods.networks.pretrained import HUB, cached, weights_file, weights_sha256
from methods.toml_fields import read_fields
from shifts.errors import BadInput, check_name

Precision = Literal["fp32", "bf16"]


LATER = ("fine_tune", "warmup_steps", "clip")
"""Fields of a recipe that say nothing where they are off: keys of checkpoints made before they existed stay valid."""


@dataclass(frozen=True)
class Recipe:
    """One training setting. Epochs, milestones and warm-up are counted from 0; rotation in degrees, padding in pixels.

    trunk_lr: learning rate of convolutions and BatchNorm (all but the heads), relative to `lr`.
    drw_epoch: from which deferred re-weighting is on (ride, ldam_drw); 0 = from the first milestone. drw_factors: what
    stands in for `factors` in those methods.
    crop: `pad` = images of one size, held in memory, cropped after padding; `resized` = images of any size, streamed
    by worker processes, cropped at random and resized to `size` pixels a side (tested: shorter side 8/7 `size`, centre
    crop); `whole` = streamed too, but most of a picture in training, all of it in testing, whatever its sides' ratio;
    `padding` then means nothing. jitter: strength of brightness, contrast and saturation jitter (not with `pad`).
    pretrained: weights that trunk and branches start from, `hub` (torch.hub's cache) or a file; empty = none.
    warmup_steps: steps over which the rate also rises, linearly from a third. clip: largest norm of a step's gradient;
    0 = no limit.
    fine_tune: stem and first stage stay as the pre-trained weights have them, and so do BatchNorm's statistics.
    strong: AutoAugment and Cutout in the methods whose papers use them (shike); they need hundreds of epochs.
    precision: `bf16` runs convolutions and matrix products in bfloat16 under autocast; losses stay in float32.
    """

    name: str
    backbone: str = "resnet32"
    epochs: int = 200
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    warmup: int = 5
    milestones: tuple[int, ...] = (160, 180)
    factors: tuple[float, ...] = (0.1, 0.01)
    padding: int = 4
    flip: bool = True
    rotation: float = 15.0
    strong: bool = True
    precision: Precision = "fp32"
    trunk_lr: float = 1.0
    drw_epoch: int = 0
    drw_factors: tuple[float, ...] = (0.01, 1e-4)
    crop: Literal["pad", "resized", "whole"] = "pad"
    size: int = 0
    jitter: float = 0.0
    pretrained: str = ""
    fine_tune: bool = False
    warmup_steps: int = 0
    clip: float = 0.0

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise BadInput("a recipe needs a name")
        if self.epochs < 1 or self.batch_size < 2 or self.lr <= 0 or self.warmup < 0 or self.padding < 0:
            raise BadInput(
                f"recipe {self.name}: epochs >= 1, batch_size >= 2, lr > 0, warmup and padding >= 0 are needed"
            )
        if not all(
            map(
                math.isfinite,
                (self.lr, self.momentum, self.weight_decay, self.rotation, *self.factors, *self.drw_factors),
            )
        ):
            raise BadInput(f"recipe {self.name}: its numbers must be finite")
        if not 0 <= self.momentum < 1 or min(self.weight_decay, self.rotation, *self.factors, *self.drw_factors) < 0:
            raise BadInput(
                f"recipe {self.name}: momentum in 0..1 and weight_decay, rotation, factors, drw_factors >= 0 are needed"
            )
        if self.warmup_steps < 0 or not 0 <= self.clip < math.inf:
            raise BadInput(f"recipe {self.name}: warmup_steps >= 0 and a finite clip >= 0 are needed")
        if self.nesterov and self.momentum <= 0:
            raise BadInput(f"recipe {self.name}: nesterov needs momentum > 0")
        # Papers put their own factors at the recipe's milestones, so their number is fixed.
        if len(self.milestones) != 2 or len(self.factors) != 2 or not 0 <= self.milestones[0] <= self.milestones[1]:
            raise BadInput(
                f"recipe {self.name}: two milestones must ascend from 0, with one factor each (at `epochs`: no drop)"
            )
        if len(self.drw_factors) != 2 or self.drw_epoch < 0 or not 0 < self.trunk_lr < math.inf:
            raise BadInput(f"recipe {self.name}: two drw_factors, drw_epoch >= 0 and trunk_lr > 0 are needed")
        if not 0 <= self.jitter <= 1 or (self.size > 0) != (self.crop != "pad") or self.size < 0:
            raise BadInput(
                f'recipe {self.name}: crop = "resized" or "whole" needs a size > 0 (224), crop = "pad" none (0: the '
                "images' own); jitter must lie in 0..1"
            )
        if self.jitter and self.crop == "pad":
            raise BadInput(f'recipe {self.name}: jitter goes with crop = "resized" or "whole"')
        if self.fine_tune and not self.pretrained:
            raise BadInput(f"recipe {self.name}: fine_tune goes with pre-trained weights")
        if self.pretrained and self.backbone not in PRETRAINED:
            names = ", ".join(PRETRAINED)
            raise BadInput(f"recipe {self.name}: pretrained goes with backbone {names}, not {self.backbone}")

    @property
    def reweight_from(self) -> int:
        """Epoch from which deferred re-weighting is on."""
        return self.drw_epoch or self.milestones[0]

    def weights(self) -> Path | None:
        """File of the pre-trained weights, or None. Raises BadInput, with what to download, where it is missing."""
        return weights_file(self.pretrained, self.backbone) if self.pretrained else None

    def stage(
        self,
        step: Step,
        *,
        name: str = "experts",
        mixup: float | None = None,
        switches: tuple[int, ...] = (),
        **changes: Any,
    ) -> Stage:
        """A training stage under this recipe; `changes` are the recipe's fields that a paper does otherwise."""
        own = replace(self, **changes)
        return Stage(
            name=name,
            epochs=own.epochs,
            batch_size=own.batch_size,
            step=step,
            optimiser=Sgd(own.lr, own.momentum, own.nesterov, own.weight_decay, own.trunk_lr, own.clip),
            schedule=Schedule(own.warmup, own.milestones, own.factors),
            augmentation=Augmentation(own.padding, own.flip, own.rotation, jitter=own.jitter),
            mixup=mixup,
            switches=switches,
            fine_tune=own.fine_tune,
            warmup_steps=own.warmup_steps,
        )

    def scaled(self, factor: float, name: str) -> "Recipe":
        """Epochs, milestones and warm-up times `factor`, rounded; at least one epoch, and one before any milestone."""
        return replace(
            self,
            name=name,
            epochs=max(1, round(self.epochs * factor)),
            milestones=tuple(max(1, round(epoch * factor)) for epoch in self.milestones),
            warmup=round(self.warmup * factor),
            warmup_steps=round(self.warmup_steps * factor),
            drw_epoch=max(1, round(self.drw_epoch * factor)) if self.drw_epoch else 0,
        )

    def sized(self, size: int) -> "Recipe":
        """The same for images of any size, resized to `size` pixels a side, under a name of its own.

        A recipe that does not resize by itself takes whole pictures, whatever their sides' ratio: random parts need
        longer training (embedded data at 28 pixels, `quick`, balanced_softmax, one seed, uniform test: 70.1 with whole
        pictures, 64.4 with parts; softmax 59.8 and 48.8, and 58.5 as `quick` is).
        """
        if self.size == size:
            return self
        crop = "whole" if self.crop == "pad" else self.crop
        return replace(self, name=f"{self.name}-size{size}", crop=crop, size=size)

    def settings(self) -> dict[str, Any]:
        """All fields but the name: what determines a result (of `LATER` those that are on).

        Of pre-trained weights that is their SHA-256 (hex).

        Raises BadInput where those are missing.
        """
        settings = {key: value for key, value in asdict(self).items() if key != "name"}
        for name in LATER:
            if not settings[name]:
                del settings[name]
        if self.pretrained:
            settings["pretrained"] = weights_sha256(self.pretrained, self.backbone)
        return settings


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
_SIZED = re.compile(r"(.+)-size(\d+)")
_BF16 = "-bf16"
MOST = 1e6
"""Largest factor of a recipe's epochs."""


def get(text: str, dataset: str) -> Recipe:
    """The recipe that `text` names: quick, published, either with -xF (F > 0), each also -bf16, or a TOML file.

    `-scratch`, before `-bf16`, leaves out pre-trained weights; on VOC-MLT and COCO-MLT that is done, and the recipe so
    named, where torch.hub's cache has none. Raises BadInput.
    """
    if text.endswith(".toml"):
        return read(Path(text), dataset)
    if sized := _SIZED.fullmatch(text):
        raise BadInput(f"recipe {text!r}: give --recipe {sized[1]} --size {sized[2]}")
    return _named("recipe", text, dataset, RECIPES)


def _named(kind: str, text: str, dataset: str, allowed: Sequence[str]) -> Recipe:
    """`get` without files; kind and allowed are for messages."""
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
    """0 for what is no number."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def read(path: Path, dataset: str) -> Recipe:
    """A recipe from a TOML file of Recipe fields; its name is the file's stem unless given.

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
