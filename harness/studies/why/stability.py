"""SADE's premise, from stored rows: is an expert most stable between two views where it is skilled, and trusted there?

SADE (Zhang et al., NeurIPS 2022) learns the weights under which two views of an image agree, so it moves towards the
expert that is most stable on the images at hand. That helps only if the most stable expert is the best one there.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from harness.records.rows import Row

Setting = tuple[str, float | None, str | None]
"""Dataset, train imbalance, recipe."""


@dataclass(frozen=True)
class Trust:
    """SADE's aggregation of one method on one shift, means over `models` (training draws x train seeds).

    weights [E]; stability: `all` and each shot group that the shift contains -> [E], mean cosine between the answers
    to two views; gain: points of top-1 over equal weights, as a share of 1. trusted_stable: share of models whose
    heaviest expert is the most stable one; trusted_best, stable_best: whose heaviest, and whose most stable, is the
    most accurate one alone (None where no row of `best_expert` says which that is).
    """

    setting: Setting
    method: str
    shift: str
    models: int
    weights: Float[np.ndarray, " experts"]
    stability: dict[str, Float[np.ndarray, " experts"]]
    gain: float
    trusted_stable: float
    trusted_best: float | None
    stable_best: float | None


def setting(row: Row) -> Setting:
    """Return what rows share that can be compared."""
    return row.dataset, row.train_imbalance, row.recipe


def trusts(rows: Iterable[Row]) -> list[Trust]:
    """Return one entry for each method and shift with rows of the adapter `sade`.

    Rows of `best_expert` are optional.
    """
    learned: dict[tuple[Setting, str, str], list[Row]] = defaultdict(list)
    best: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.adapter == "sade" and row.weights is not None and row.view_stability is not None:
            learned[setting(row), row.method, row.shift].append(row)
        elif row.adapter == "best_expert" and row.weights is not None:
            best[row.checkpoint_sha256, row.shift] = int(np.argmax(row.weights))
    return [_trust(*place, of_models, best) for place, of_models in learned.items()]


def _trust(where: Setting, method: str, shift: str, rows: list[Row], best: dict[tuple[str, str], int]) -> Trust:
    weights = np.array([row.weights for row in rows])
    found = [row.view_stability or {} for row in rows]
    groups = [group for group in ("all", "many", "medium", "few") if found[0].get(group) is not None]
    stability = {group: np.array([one[group] for one in found]) for group in groups}
    heaviest, stablest = weights.argmax(axis=1), stability["all"].argmax(axis=1)
    known = [best.get((row.checkpoint_sha256, shift)) for row in rows]
    ablest = None if None in known else np.array(known)
    return Trust(
        setting=where,
        method=method,
        shift=shift,
        models=len(rows),
        weights=weights.mean(axis=0),
        stability={group: values.mean(axis=0) for group, values in stability.items()},
        gain=float(np.mean([row.delta_to_mean for row in rows])),
        trusted_stable=float((heaviest == stablest).mean()),
        trusted_best=None if ablest is None else float((heaviest == ablest).mean()),
        stable_best=None if ablest is None else float((stablest == ablest).mean()),
    )
