"""T3A: the last layer becomes prototypes, which the surest test images of each class move as they arrive.

Source: Iwasawa and Matsuo, "Test-Time Classifier Adjustment Module for Model-Agnostic Domain Generalization", NeurIPS
2021.
Equation: for each expert, supports are at first the columns of its last layer, each with the class and the entropy that
the layer gives it. Each batch adds its images: unit features, the class and the entropy of the expert's own logits; of
each class the `kept` supports with the lowest entropy stay, the others are gone for good (0: all stay; the released
code's filter of -1 drops the worst instead). Prototype p_c is the sum of class c's supports, of length one.
Prediction: the mean over experts of scale * h . p_c, with h the unit feature and scale that of cosine classifiers; for
linear ones h keeps its length, and scale is the mean length of their columns.
Known at batch t: features and logits of batches 1..t (with `first=answer` 1..t-1).
Failures: biases and lengths of columns are forgotten, and with them the prior that the layer was trained to answer for,
so nothing can correct it afterwards. That mends a single network trained with cross-entropy (embedded data, uniform
set: 58.4 to 63.3 %) and ruins experts whose priors balance each other (SADE 72.4 to 53.2 %). Classes without sure
images keep one old column against `kept` new ones.

Access: features and classifiers (`--features`, or those of a file); no label and no prior.
"""

from dataclasses import dataclass, field
from typing import ClassVar, get_args

import numpy as np
from jaxtyping import Float32, Int
from scipy.special import entr, softmax

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, Logits
from harness.adapters.parts.last_layer import Answered, unit, usable_classifiers
from harness.adapters.parts.streams import Arriving, First
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors


@dataclass(frozen=True)
class T3a(Arriving, Adapter):
    """Prototypes of the surest images."""

    name: ClassVar[str] = "t3a"
    access: ClassVar[Access] = Access("none", "none", "stream")
    reads: ClassVar[tuple[str, ...]] = ("features", "classifiers")

    kept: int = 100
    first: First = "adapt"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kept < 0:
            raise ValueError(f"kept must be at least 0 (all), not {self.kept}")
        if self.first not in get_args(First):
            raise ValueError(f"first must be adapt or answer, not {self.first!r}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> Answered:
        """Read the images once; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason and for parts that are not finite or of wrong shapes.
        """
        images, experts, classes = check_evidence(self, evidence, expert_priors)
        classifiers, features = usable_classifiers(evidence)
        logits = np.zeros((images, classes), np.float32)
        for expert in range(experts):
            columns, shown = classifiers.weights[expert].T, features[:, expert]
            rows = np.broadcast_to(columns[:, None], (classes, experts, columns.shape[1]))
            supports = Supports(classes, self.kept)
            supports.add(unit(columns), classifiers.logits(np.ascontiguousarray(rows))[:, expert])
            directions = unit(shown)
            scale = classifiers.scale or float(np.linalg.norm(columns, axis=1).mean())
            asked = directions if classifiers.scale else shown
            for part in self.batches(images):
                prototypes = supports.prototypes() if self.first == "answer" else None
                supports.add(directions[part], evidence.logits[part, expert])
                prototypes = supports.prototypes() if prototypes is None else prototypes
                logits[part] += scale / experts * (asked[part] @ prototypes.T)
        return Answered(logits)


@dataclass
class Supports:
    """Unit features [S, D] with class and entropy of each, sorted by class and then by entropy."""

    classes: int
    kept: int
    features: Float32[np.ndarray, "supports dim"] | None = None
    labels: Int[np.ndarray, " supports"] = field(default_factory=lambda: np.empty(0, np.int64))
    entropies: Float32[np.ndarray, " supports"] = field(default_factory=lambda: np.empty(0, np.float32))

    def add(self, features: Float32[np.ndarray, "images dim"], logits: Logits) -> None:
        """Add images by their logits; of each class those of the lowest entropy stay, the earlier of equals."""
        labels = np.concatenate([self.labels, logits.argmax(axis=1)])
        entropies = np.concatenate([self.entropies, entr(softmax(logits, axis=1)).sum(axis=1)])
        all_of_them = features if self.features is None else np.concatenate([self.features, features])
        order = np.lexsort((entropies, labels))
        if self.kept:
            starts = np.searchsorted(labels[order], np.arange(self.classes))
            order = order[np.arange(len(order)) - starts[labels[order]] < self.kept]
        self.features, self.labels, self.entropies = all_of_them[order], labels[order], entropies[order]

    def prototypes(self) -> Float32[np.ndarray, "classes dim"]:
        """Return the sum of each class's supports, of length one; zero for a class without."""
        assert self.features is not None  # columns were added first
        sums = np.zeros((self.classes, self.features.shape[1]), np.float32)
        found, starts = np.unique(self.labels, return_index=True)
        sums[found] = np.add.reduceat(self.features, starts, axis=0)
        return unit(sums)
