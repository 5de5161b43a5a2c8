"""The evidence of a model and of the images to answer for, from one file or from two."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.evidence.arrays import UnlabelledEvidence
from harness.evidence.files import load_unlabelled
from shifts.common.errors import BadInput

LEAST_IMAGES = 2


@dataclass(frozen=True, eq=False)
class Given:
    """What is known: evidence of the images, with the source of the model's file; `images`: the file they are from."""

    images: Path
    read: UnlabelledEvidence


def given(model: Path, images: Path | None) -> Given:
    """Read a model's evidence file and, where they are in another, the images'.

    Raises BadInput for files that cannot be read, that are of two models, and for fewer than two images.
    """
    told = load_unlabelled(model)
    if images is None:
        made = Given(model, told)
    else:
        shown = load_unlabelled(images)
        _check_same_model(model, told, images, shown)
        source = shown.evidence.source if told.evidence.source is None else told.evidence.source
        made = Given(images, replace(shown, evidence=replace(shown.evidence, source=source)))
    number = len(made.read.evidence.logits)
    if number < LEAST_IMAGES:
        raise BadInput(f"{made.images} holds {number} image; at least {LEAST_IMAGES} are needed to tell class shares")
    return made


def _check_same_model(model: Path, told: UnlabelledEvidence, images: Path, shown: UnlabelledEvidence) -> None:
    """Raise BadInput that says what two files differ in that must be the same of one model."""
    two = f"{images} is not of the model of {model}: it has"
    experts = (shown.evidence.logits.shape[1], told.evidence.logits.shape[1])
    pairs = {"classes": (len(shown.train_counts), len(told.train_counts)), "experts": experts}
    for what, (here, there) in pairs.items():
        if here != there:
            raise BadInput(f"{two} {here} {what}, not {there}")
    names = [name for name in ("class_names", "model") if name in shown.metadata and name in told.metadata]
    if "class_names" in names and shown.class_names != told.class_names:
        both = enumerate(zip(shown.class_names, told.class_names, strict=True))
        place, (here, there) = next((place, pair) for place, pair in both if pair[0] != pair[1])
        raise BadInput(f"{two} {here!r} as class {place}, not {there!r}")
    if "model" in names and shown.metadata["model"] != told.metadata["model"]:
        raise BadInput(f"{two} another fingerprint (weights that differ); collect both with the same model")
    if not np.array_equal(shown.train_counts, told.train_counts):
        raise BadInput(f"{two} other train_counts")
    if not np.allclose(shown.expert_priors.values, told.expert_priors.values, rtol=0, atol=1e-6):
        raise BadInput(f"{two} other expert_priors")
