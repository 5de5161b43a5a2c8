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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from methods.core.stage import Augmentation, Schedule, Sgd, Stage, Step
from methods.core.weights import BACKBONES as PRETRAINED
from methods.core.weights import weights_file, weights_sha256
from shifts.common.errors import BadInput

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
    precision: Literal["fp32", "bf16"] = "fp32"
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
        """The epoch from which deferred re-weighting is on."""
        return self.drw_epoch or self.milestones[0]

    def weights(self) -> Path | None:
        """Return the file of the pre-trained weights, or None. Raises BadInput (what to download) if it is missing."""
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
        """Return a training stage under this recipe; `changes` are the recipe's fields that a paper does otherwise."""
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
        """Scale epochs, milestones and warm-up by `factor`, rounded; at least one epoch and one before a milestone."""
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
        """Return the same for images of any size, resized to `size` pixels a side, under a name of its own.

        A recipe that does not resize by itself takes whole pictures, whatever their sides' ratio: random parts need
        longer training (embedded data at 28 pixels, `quick`, balanced_softmax, one seed, uniform test: 70.1 with whole
        pictures, 64.4 with parts; softmax 59.8 and 48.8, and 58.5 as `quick` is).
        """
        if self.size == size:
            return self
        crop = "whole" if self.crop == "pad" else self.crop
        return replace(self, name=f"{self.name}-size{size}", crop=crop, size=size)

    def settings(self) -> dict[str, Any]:
        """Return all fields but the name: they determine a result (of `LATER` those that are on).

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


_SIZED = re.compile(r"(.+)-size(\d+)")
