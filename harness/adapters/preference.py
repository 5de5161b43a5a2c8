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
from jaxtyping import Float

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, Logits, Prior, Weights
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_finite, usable_heads
from harness.evidence.heads import PreferenceHeads, agreement
from methods.core.priors import ExpertPriors


@dataclass(frozen=True)
class PreferredHeads:
    """Predicts with the heads of one preference.

    point: its number on the lattice; preference: over experts [E]; prior: the label prior that it stands for [C];
    scores: what each lattice point was judged by [P].
    """

    point: int
    preference: Weights
    prior: Prior
    scores: Float[np.ndarray, " points"]
    weights: None = None

    def predict(self, evidence: Evidence) -> Logits:
        """Return the mean over experts of the logits at the preference.

        Raises ValueError where head or features are missing.
        """
        heads, features = usable_heads(evidence)
        return heads.ensemble(features, self.point)


@dataclass(frozen=True)
class Preference(Adapter):
    """The heads of the most view-stable preference."""

    name: ClassVar[str] = "preference"
    access: ClassVar[Access] = Access("none", "none", "transductive")
    reads: ClassVar[tuple[str, ...]] = ("features", "view_features", "head")
    least_experts: ClassVar[int] = 2

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> PreferredHeads:
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


def preferred(heads: PreferenceHeads, scores: Float[np.ndarray, " points"]) -> PreferredHeads:
    """Return the point with the highest score [P]; the first of equals."""
    point = int(scores.argmax())
    return PreferredHeads(point, heads.points[point], heads.priors[point], scores)
