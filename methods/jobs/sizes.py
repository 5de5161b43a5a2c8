"""Images of different sizes: what to say where a recipe takes images as they are."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from methods.core.recipe import Recipe
from methods.networks import LAYOUTS
from shifts.checks.facts import facts
from shifts.common.errors import BadInput
from shifts.images.catalog import Dataset

LARGEST_SMALL, LARGEST = 64, 224
"""Pixels a side that are proposed at most: to a network for small images, and to any other."""
STEP = 8


def check_sizes(recipe: Recipe, sizes: Mapping[str, Int[np.ndarray, "images 2"]]) -> None:
    """Raise BadInput, with a size to resize to, where images differ in size and the recipe takes them as they are.

    sizes: width and height of every image of each split, in pixels; 0 for one that cannot be decoded.
    """
    if recipe.crop != "pad":
        return
    first: dict[tuple[int, int], str] = {}
    for split, each in sizes.items():
        different, places = np.unique(each, axis=0, return_index=True)
        for place, (width, height) in sorted(zip(places.tolist(), different.tolist(), strict=True)):
            if width and height:
                first.setdefault((width, height), f"{width} x {height} ({split} image {place})")
    if len(first) > 1:
        one, other, *rest = first.values()
        more = f" and {len(rest):,} more" if rest else ""
        raise BadInput(
            f"images differ in size: {one}, {other}{more}; recipe {recipe.name} does not resize them; give "
            f"--size N to resize all, such as --size {proposed(recipe, sizes)}"
        )


def proposed(recipe: Recipe, sizes: Mapping[str, Int[np.ndarray, "images 2"]]) -> int:
    """Return a size for these images: the median of their shorter sides, as far as the network is made for it."""
    shorter = np.concatenate([each.min(axis=1) for each in sizes.values()])
    middle = float(np.median(shorter[shorter > 0]))
    most = LARGEST if recipe.backbone in LAYOUTS else LARGEST_SMALL
    return min(most, max(STEP, STEP * round(middle / STEP)))


def sizes_of_splits(dataset: Dataset) -> dict[str, Int[np.ndarray, "images 2"]]:
    """Return the width and height of every image by split, of those splits whose check-up is remembered."""
    splits = [images for images in (dataset.train, dataset.test, dataset.validation) if images is not None]
    known = {f"{images.name} {images.split}": facts(images, decode=False) for images in splits}
    return {name: found.sizes for name, found in known.items() if found is not None}
