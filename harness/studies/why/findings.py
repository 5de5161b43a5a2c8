"""Findings: bias, variance and hardest-negative confidence of each method, as flat typed rows in one Parquet file.

Derived from stored answers alone. A finding is one measure of one predictor (the mean of a method's experts, or some
of them) on one group of classes, over the models that differ in training draw and train seed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from harness.measures.metrics import shot_groups
from harness.records.fields import DATA
from harness.records.record import Kind, ParquetFiles
from harness.studies.why.answers import Answers, predictors
from harness.studies.why.bias_variance import PARTS, by_group, decompose, jackknife, tied
from shifts.common.files import digest

FINDINGS_SCHEMA = 1
MEASURES = (*PARTS, "hardest_negative")
"""Measures, in order: see `bias_variance.Decomposition`; `hardest_negative` is `bias_variance.hardest_negative`."""

ENOUGH_DRAWS = 5
"""Training draws from which on a method counts among those that are compared."""


@dataclass(frozen=True)
class Finding:
    """One measure over several models; `value`, `low`, `high` and `left_out` are shares of 1.

    predictor: `mean`, `expert-1`, `first-2`, ...; `used` of the method's `experts` answer in it. group: `all`, `many`,
    `medium` or `few` by train counts, of `classes` classes; classes count alike. train_subset_seeds and train_seeds:
    of each model, side by side. left_out: the value without each training draw, in the order of the distinct
    train_subset_seeds; low and high: its jackknife interval at 95 %, None for fewer than three draws. tied: share of
    images whose mode over the models is tied. models_sha256: of the checkpoints' hashes; equal for methods that make
    equal networks.
    shared: over the draws and seeds that all methods of the setting with enough draws have, to be compared.
    """

    schema_version: int
    dataset: str
    test_fingerprint: str
    train_profile: str
    train_imbalance: float | None
    train_rule: str
    train_counts_sha256: str
    recipe: str
    recipe_sha256: str
    method: str
    method_version: int
    train_version: int
    experts: int
    predictor: str
    used: int
    group: str
    classes: int
    n: int
    models: int
    shared: bool
    train_subset_seeds: list[int]
    train_seeds: list[int]
    models_sha256: str
    tied: float
    measure: str
    value: float
    low: float | None
    high: float | None
    left_out: list[float]


SETTING = tuple(field.name for field in fields(Finding) if field.name in (*DATA, "recipe", "recipe_sha256"))
"""Fields that two findings share if they can be compared."""
_MADE = (*SETTING, "method", "method_version", "train_version")


FILES = ParquetFiles(Kind(Finding, "finding", FINDINGS_SCHEMA), folder="why")
store, load = FILES.store, FILES.load_all


def path(results: Path) -> Path:
    """Return where findings are kept."""
    return FILES.path(results, "bias-variance")


def of_answers(stored: Iterable[Answers]) -> list[Finding]:
    """Return the findings from the answers of many checkpoints, sorted; one answer of each draw and seed is used.

    Each method over all its models, and, where that is something else, over those that all have.
    """
    settings: dict[tuple[Any, ...], dict[tuple[int, int], Answers]] = defaultdict(dict)
    for one in stored:
        about = one.about
        settings[tuple(about[name] for name in _MADE)][about["train_subset_seed"], about["train_seed"]] = one
    found = []
    for setting, models in settings.items():
        named = dict(zip(_MADE, setting, strict=True))
        alike = [set(other) for place, other in settings.items() if place[: len(SETTING)] == setting[: len(SETTING)]]
        common = _common(alike)
        for chosen, shared in {frozenset(models): False, common: True}.items():
            if chosen and chosen <= set(models):
                found += _of_models(named | {"shared": shared}, [models[place] for place in sorted(chosen)])
    return sorted(found, key=lambda finding: tuple(str(value) for value in astuple(finding)))


def _common(methods: Sequence[set[tuple[int, int]]]) -> frozenset[tuple[int, int]]:
    """Return the (draw, seed) pairs that all methods with enough draws have.

    There are none where these are of fewer than two draws.
    Enough is `ENOUGH_DRAWS`, or the most that any method has, so that one that is hardly begun shrinks no other.
    """
    draws = [len({draw for draw, _ in models}) for models in methods]
    needed = max(2, min(ENOUGH_DRAWS, max(draws, default=0)))
    enough = [models for models, count in zip(methods, draws, strict=True) if count >= needed]
    common = frozenset(set.intersection(*enough)) if enough else frozenset()
    return common if len({draw for draw, _ in common}) > 1 else frozenset()


def _of_models(setting: dict[str, Any], models: Sequence[Answers]) -> list[Finding]:
    """Return the findings of one method in one setting; models in the order of draws, then seeds."""
    first = models[0]
    labels = first.labels.astype(np.int64)
    counts = np.array(first.about["train_counts"])
    groups = shot_groups(counts)
    draws = np.array([model.about["train_subset_seed"] for model in models])
    distinct = list(dict.fromkeys(draws.tolist()))
    known = {
        **setting,
        "schema_version": FINDINGS_SCHEMA,
        "experts": first.experts,
        "n": len(labels),
        "models": len(models),
        "train_subset_seeds": draws.tolist(),
        "train_seeds": [model.about["train_seed"] for model in models],
        "models_sha256": digest([model.about["checkpoint_sha256"] for model in models]),
    }
    found = []
    for place, predictor in enumerate(predictors(first.experts)):
        predicted = np.stack([model.predicted[place] for model in models])
        hardest = np.stack([model.hardest[place] for model in models]).astype(np.float64)
        whole = _values(predicted, hardest, labels, groups)
        # Without its only training draw nothing is left of a method.
        without = [
            _values(predicted[draws != draw], hardest[draws != draw], labels, groups)
            for draw in (distinct if len(distinct) > 1 else [])
        ]
        ties = tied(predicted, len(counts))
        for measure in MEASURES:
            for group, value in whole[measure].items():
                if value is None:
                    continue
                left_out = [part for other in without if (part := other[measure][group]) is not None]
                low, high = jackknife(value, left_out) or (None, None)
                found.append(
                    Finding(
                        **known,
                        predictor=predictor.name,
                        used=len(predictor.used),
                        group=group,
                        classes=len(counts) if group == "all" else len(groups[group]),
                        tied=ties,
                        measure=measure,
                        value=value,
                        low=low,
                        high=high,
                        left_out=left_out,
                    )
                )
    return found


def _values(
    predicted: Int[np.ndarray, "models images"],
    hardest: Float[np.ndarray, "models images"],
    labels: Int[np.ndarray, " images"],
    groups: Mapping[str, Int[np.ndarray, " group"]],
) -> dict[str, dict[str, float | None]]:
    """Return every measure by group of classes."""
    classes = sum(len(members) for members in groups.values())
    parts = decompose(predicted, labels, classes)
    by_image = {name: getattr(parts, name) for name in PARTS} | {"hardest_negative": hardest.mean(axis=0)}
    return {name: by_group(by_image[name], labels, groups) for name in MEASURES}


def difference(first: Sequence[Finding], second: Sequence[Finding]) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of `first` - mean of `second`, of one measure, and its jackknife interval.

    The interval is over the draws that all share.
    The interval is None where not all are about the same draws and seeds: then nothing is paired.
    Raises ValueError where one side is empty.
    """
    if not first or not second:
        raise ValueError("a difference needs findings on both sides")
    value = float(np.mean([one.value for one in first]) - np.mean([one.value for one in second]))
    made = {(tuple(one.train_subset_seeds), tuple(one.train_seeds)) for one in (*first, *second)}
    if len(made) > 1:
        return value, None
    sides = [np.mean([one.left_out for one in side], axis=0) for side in (first, second)]
    return value, jackknife(value, sides[0] - sides[1])
