"""Preference: the preference over experts at which two views of an image agree best; heads follow from it.

Source: Zhao et al., NeurIPS 2024, for heads that follow a preference; the objective is SADE's (Zhang et al., NeurIPS
2022), minimised over a lattice of the simplex (step 0.1, and the centre) and not by gradient. The paper leaves the
preference to the user: choosing it from unlabelled images is ours.
Equation: argmax over points alpha of the mean, over images and view pairs, of cos(softmax(z^1), softmax(z^2)), with
z = (1/E) sum_e s <f_e / |f_e|, w_ec(alpha) / |w_ec(alpha)|>. The first of equals wins, and the centre is first.
All pairs and images count, none is sampled; at the centre itself the method is `mean`.
Failures: SADE's (nothing ties agreement to accuracy), and that points far from those that heads were trained at are
extrapolation: predictions there can be stable and wrong. The implied prior normalise(prod_e p_e^{alpha_e}) is what a
preference is meant to stand for; only the variant `preference_weighted` of PRL is trained to it.

An image's agreement at each point does not depend on the draw: evidence of our own methods holds it (`agreement`), so
its time is in `evidence_seconds`; where evidence has none it is worked out for each draw.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int

from harness.adapters.base import Adapter, Evidence, LabelAccess, PriorAccess, TestAccess
from harness.adapters.check import check_evidence, check_finite
from harness.heads import PreferenceHeads
from methods.priors import ExpertPriors

_IMAGES_AT_ONCE = 512


@dataclass(frozen=True)
class PreferredHeads:
    """Predicts with the heads of one preference.

    point: its number on the lattice; preference: over experts [E]; prior: the label prior that it stands for [C];
    scores: what each lattice point was judged by [P].
    """

    point: int
    preference: Float[np.ndarray, " experts"]
    prior: Float[np.ndarray, " classes"]
    scores: Float[np.ndarray, " points"]
    weights: None = None

    def predict(self, evidence: Evidence) -> Float[np.ndarray, "images classes"]:
        """Mean over experts of the logits at the preference. Raises ValueError where head or features are missing."""
        heads, features = usable_heads(evidence)
        return heads.ensemble(features, self.point)


@dataclass(frozen=True)
class Preference(Adapter):
    """The heads of the most view-stable preference."""

    name: ClassVar[str] = "preference"
    prior_access: ClassVar[PriorAccess] = "none"
    label_access: ClassVar[LabelAccess] = "none"
    test_access: ClassVar[TestAccess] = "transductive"
    reads: ClassVar[tuple[str, ...]] = ("features", "view_features", "head")
    least_experts: ClassVar[int] = 2

    def fit(
        self,
        evidence: Evidence,
        counts: Int[np.ndarray, " classes"],
        expert_priors: ExpertPriors,
        seed: int,
    ) -> PreferredHeads:
        """Judge every lattice point by all images and view pairs; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason and for parts that are not finite or of wrong shapes.
        """
        check_evidence(self, evidence, expert_priors)
        heads, features = usable_heads(evidence)
        view_features, table = evidence.view_features, evidence.agreement
        assert view_features is not None  # `missing` refused it
        if view_features.ndim != 5 or view_features.shape[1:] != (2, *features.shape):
            raise ValueError(f"view features of shape {view_features.shape} do not belong to {features.shape}")
        if table is None:
            check_finite(view_features, "view features", image_axis=2)
            table = agreement(heads, view_features)
        elif table.shape != (len(features), len(heads.points)):
            raise ValueError(f"agreement must be [{len(features)}, {len(heads.points)}], not {list(table.shape)}")
        else:
            check_finite(table, "agreement", image_axis=0)
        return preferred(heads, table.mean(axis=0, dtype=np.float64))


def agreement(
    heads: PreferenceHeads, view_features: Float32[np.ndarray, "pairs 2 images experts dim"]
) -> Float32[np.ndarray, "images points"]:
    """Cosine of the two views' ensemble predictions at each point, the mean over pairs, for each image."""
    pairs, _, images = view_features.shape[:3]
    table = np.zeros((images, len(heads.points)), np.float32)
    for start in range(0, images, _IMAGES_AT_ONCE):
        rows = slice(start, min(start + _IMAGES_AT_ONCE, images))
        for pair in view_features[:, :, rows]:
            flat = heads.flat(pair.reshape(-1, *pair.shape[2:]))
            for point, head in enumerate(heads.flat_heads):
                table[rows, point] += view_cosines(flat @ head)
    return table / np.float32(pairs)


def view_cosines(logits: Float32[np.ndarray, "two_views classes"]) -> Float32[np.ndarray, " images"]:
    """Cosine of the softmax answers to two views; `logits` has one view's rows after the other's and is overwritten."""
    logits -= logits.max(axis=1, keepdims=True)
    # the cosine ignores scale, so softmax need not be normalised
    powers = np.exp(logits, out=logits)
    half = len(powers) // 2
    squares = np.einsum("bc,bc->b", powers, powers)
    norms = np.sqrt(squares[:half] * squares[half:])
    return np.asarray(np.einsum("bc,bc->b", powers[:half], powers[half:]) / norms)


def preferred(heads: PreferenceHeads, scores: Float[np.ndarray, " points"]) -> PreferredHeads:
    """The point with the highest score [P]; the first of equals."""
    point = int(scores.argmax())
    return PreferredHeads(point, heads.points[point], heads.priors[point], scores)


def usable_heads(evidence: Evidence) -> tuple[PreferenceHeads, Float32[np.ndarray, "images experts dim"]]:
    """Head and clean features. Raises ValueError where they are missing, not finite or not of these logits."""
    heads, features = evidence.head, evidence.features
    if heads is None or features is None:
        raise ValueError("a preference needs evidence with head and features")
    images, experts, classes = evidence.logits.shape
    _, made_for, dim, made = heads.weights.shape
    if features.shape != (images, experts, dim) or (made_for, made) != (experts, classes):
        raise ValueError(
            f"features of shape {features.shape} and heads of shape {heads.weights.shape} do not belong to logits of "
            f"shape {evidence.logits.shape}"
        )
    check_finite(features, "features", image_axis=0)
    return heads, features
