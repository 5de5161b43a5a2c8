"""Preference sweep: what a point of the simplex over experts does to predictions, for three kinds of model.

Source: Zhao et al., NeurIPS 2024, whose hypernetwork turns a preference alpha (order: forward, uniform, backward
expert) into heads. Sweeping it over shifts, choosing it without labels, and the two controls are ours. Kinds:
  hypernetwork  z = (1/E) sum_e s cos(f_e, w_e(alpha)), heads made for alpha
  weights       z = sum_e alpha_e z_e: the same alpha as weights of a method's expert logits, no hypernetwork
  adjustment    z + log p_alpha - log p: one network that answers for p, moved by logit adjustment
with p_alpha = normalise(prod_e p_e^{alpha_e}), the label prior that a preference stands for; `adjustment` has no
experts, so its p_e are those of SADE's (pi, uniform, pibar^2).
Every point is one pass over the whole pool; a shift is a subset of it, so its figures are counts of correctness.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy.typing import ArrayLike
from scipy.sparse import coo_array

from harness.adapters.parts.calibration import uncalibrated
from harness.adapters.parts.correction import prior_correction
from harness.adapters.parts.likelihood import likeliest_prior
from harness.evidence.arrays import Evidence, PoolEvidence
from harness.evidence.check import usable_heads
from harness.evidence.heads import STEPS, PreferenceHeads, agreement, lattice, view_cosines
from harness.measures.metrics import shot_groups
from methods.core.priors import ExpertPriors, normalise, reverse_by_rank, target_prior
from shifts.labels.distance import total_variation

_IMAGES_AT_ONCE = 512

Kind = Literal["hypernetwork", "weights", "adjustment"]
Answer = Callable[[Float32[np.ndarray, "images ..."], int], Float32[np.ndarray, "images classes"]]


@dataclass(frozen=True)
class Family:
    """Predictions of one model at each of P preferences, and the label priors that these stand for.

    inputs: what an answer is made of, one entry an image; views: the same of K pairs of random views, or None;
    answer(inputs of some images, point) -> their logits. known: `agreement`, where somebody has worked it out.
    """

    kind: Kind
    points: Float[np.ndarray, "points experts"]
    priors: Float[np.ndarray, "points classes"]
    inputs: Float32[np.ndarray, "images ..."]
    views: Float32[np.ndarray, "pairs 2 images ..."] | None
    answer: Answer
    known: Float32[np.ndarray, "images points"] | None = None

    def correct(self, labels: Int[np.ndarray, " images"]) -> Bool[np.ndarray, "images points"]:
        """Return whether the argmax (ties: lowest class) is the label, of every image at every point."""
        hits = np.empty((len(self.inputs), len(self.points)), dtype=bool)
        for rows in _blocks(len(self.inputs)):
            block = self.inputs[rows]
            for point in range(len(self.points)):
                hits[rows, point] = self.answer(block, point).argmax(axis=1) == labels[rows]
        return hits

    def agreement(self) -> Float32[np.ndarray, "images points"] | None:
        """Return SADE's objective at every point; None without views.

        That is the cosine of the two views' softmax answers, mean over pairs.
        """
        if self.known is not None or self.views is None:
            return self.known
        table = np.zeros((len(self.inputs), len(self.points)), np.float32)
        for rows in _blocks(len(self.inputs)):
            for pair in self.views[:, :, rows]:
                block = pair.reshape(-1, *pair.shape[2:])
                for point in range(len(self.points)):
                    table[rows, point] += view_cosines(self.answer(block, point))
        return table / np.float32(len(self.views))


def family_of(
    pool: PoolEvidence, steps: int = STEPS, heads: PreferenceHeads | None = None, *, agreed: bool = True
) -> Family:
    """Return the kind of sweep that a model's evidence allows: heads before expert weights before logit adjustment.

    steps: of the lattice, for models without heads. heads: instead of those in the evidence (another lattice).
    agreed: also look for the views that the choice by stability needs.
    Raises ValueError where heads, features and logits do not belong together.
    """
    evidence = pool.evidence if heads is None else replace(pool.evidence, head=heads, agreement=None)
    views = evidence.views if agreed else None
    if evidence.head is not None:
        return _hypernetwork(evidence, agreed)
    experts = evidence.logits.shape[1]
    if experts > 1:
        points = lattice(experts, steps)
        priors = np.stack([target_prior(pool.expert_priors, point) for point in points])
        return Family("weights", points, priors, evidence.logits, views, _weighted(points))
    wanted = control_priors(pool.train_counts)
    points = lattice(len(wanted.values), steps)
    priors = np.stack([target_prior(wanted, point) for point in points])
    answered = target_prior(pool.expert_priors)
    bias = np.stack([prior_correction(prior, answered) for prior in priors]).astype(np.float32)
    single = None if views is None else views[:, :, :, 0]
    return Family("adjustment", points, priors, evidence.logits[:, 0], single, lambda block, point: block + bias[point])


def control_priors(train_counts: Int[np.ndarray, " classes"]) -> ExpertPriors:
    """Return p_e of the kind `adjustment`: pi, uniform, pibar^2.

    They are the priors of SADE's and PRL's experts (SADE, eq. 3).
    """
    prior = normalise(train_counts)
    uniform = np.full(len(prior), 1 / len(prior))
    return ExpertPriors(np.stack([prior, uniform, normalise(reverse_by_rank(prior) ** 2)]), exact=True)


def _hypernetwork(evidence: Evidence, agreed: bool) -> Family:
    heads, features = usable_heads(evidence)
    views = evidence.view_features if agreed else None
    known = None if views is None else evidence.agreement
    if views is not None and known is None:
        known = agreement(heads, views)
    return Family(
        "hypernetwork",
        heads.points,
        heads.priors,
        heads.flat(features),
        None,
        lambda block, point: block @ heads.flat_heads[point],
        known,
    )


def _weighted(points: Float[np.ndarray, "points experts"]) -> Answer:
    shares = points.astype(np.float32)
    return lambda block, point: np.einsum("nec,e->nc", block, shares[point])


def _blocks(images: int) -> Iterator[slice]:
    return (slice(start, start + _IMAGES_AT_ONCE) for start in range(0, images, _IMAGES_AT_ONCE))


@dataclass(frozen=True)
class ShiftSweep:
    """One shift under P preferences; accuracies are fractions [P], a shot group without a class in the draw is None.

    agreement: mean over the drawn images of SADE's objective (None without views). tv_estimate, tv_test: total
    variation between the prior that a point stands for and EM's estimate of the test prior, or the true one.
    chosen: point number by way of choosing (`choose`).
    """

    top1: Float[np.ndarray, " points"]
    many: Float[np.ndarray, " points"] | None
    medium: Float[np.ndarray, " points"] | None
    few: Float[np.ndarray, " points"] | None
    macro: Float[np.ndarray, " points"]
    agreement: Float[np.ndarray, " points"] | None
    tv_estimate: Float[np.ndarray, " points"]
    tv_test: Float[np.ndarray, " points"]
    chosen: dict[str, int]


def sweep(
    pool: PoolEvidence, family: Family, draws: Sequence[Int[np.ndarray, " drawn"]], kinds: Sequence[str]
) -> list[ShiftSweep]:
    """Return the sweep of every preference on every draw (indices into the pool).

    kinds: the shifts' kinds, for the matching corner.
    """
    classes = len(pool.train_counts)
    hits = family.correct(pool.labels)
    right, total = class_counts(hits, pool.labels, draws, classes)
    agreed = family.agreement()
    ratios = uncalibrated(pool.expert_priors).ratios(pool.evidence)
    reference = target_prior(pool.expert_priors)
    groups = shot_groups(pool.train_counts)
    swept = []
    for number, (draw, kind) in enumerate(zip(draws, kinds, strict=True)):
        present = total[number] > 0
        accuracy = right[number] / np.maximum(total[number], 1)
        by_group = {name: accuracy[:, members[present[members]]] for name, members in groups.items()}
        estimate = likeliest_prior(ratios[draw], reference)
        tv_estimate, tv_test = (_distances(family.priors, prior) for prior in (estimate, total[number]))
        score = None if agreed is None else agreed[draw].mean(axis=0, dtype=np.float64)
        top1 = right[number].sum(axis=1) / total[number].sum()
        swept.append(
            ShiftSweep(
                top1=top1,
                **{name: part.mean(axis=1) if part.shape[1] else None for name, part in by_group.items()},
                macro=accuracy[:, present].mean(axis=1),
                agreement=score,
                tv_estimate=tv_estimate,
                tv_test=tv_test,
                chosen=choose(family.points, kind, top1, score, tv_estimate, tv_test),
            )
        )
    return swept


def class_counts(
    hits: Bool[np.ndarray, "images points"],
    labels: Int[np.ndarray, " images"],
    draws: Sequence[Int[np.ndarray, " drawn"]],
    classes: int,
) -> tuple[Int[np.ndarray, "draws points classes"], Int[np.ndarray, "draws classes"]]:
    """Return the correct answers by draw, point and class, and drawn images by draw and class."""
    images = np.concatenate(draws)
    cells = np.concatenate([number * classes + labels[draw] for number, draw in enumerate(draws)])
    members = coo_array((np.ones(len(images), np.int32), (cells, images)), (len(draws) * classes, len(labels))).tocsr()
    right = (members @ hits.astype(np.int32)).reshape(len(draws), classes, -1).swapaxes(1, 2)
    total = np.bincount(cells, minlength=len(draws) * classes).reshape(len(draws), classes)
    return right, total


def choose(
    points: Float[np.ndarray, "points experts"],
    kind: str,
    top1: Float[np.ndarray, " points"],
    score: Float[np.ndarray, " points"] | None,
    tv_estimate: Float[np.ndarray, " points"],
    tv_test: Float[np.ndarray, " points"],
) -> dict[str, int]:
    """Return the points that a user may take on one shift.

    Of equals the first is taken, and the centre is first on our lattices.
    centre: equal shares. corner: the expert trained for the shift: the first for forward_lt, the last for
    backward_lt, else the one whose prior lies nearest to the true one. stability: views agree best. em: nearest
    to EM's estimate of the test prior. best: most accurate on the test labels, an upper reference.
    """
    experts = points.shape[1]
    corners = points.argmax(axis=0)
    named = {"forward_lt": 0, "backward_lt": experts - 1}
    corner = named[kind] if kind in named else int(tv_test[corners].argmin())
    chosen = {
        "centre": int(np.abs(points - 1 / experts).sum(axis=1).argmin()),
        "corner": int(corners[corner]),
        "em": int(tv_estimate.argmin()),
        "best": int(top1.argmax()),
    }
    return chosen if score is None else chosen | {"stability": int(score.argmax())}


def _distances(priors: Float[np.ndarray, "points classes"], other: ArrayLike) -> Float[np.ndarray, " points"]:
    return np.array([total_variation(prior, np.asarray(other)) for prior in priors])
