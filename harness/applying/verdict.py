"""Whether to trust an adapter's answers, from the images and, where there are some, labelled source images.

The rules and what they cost on the reference rows stand in `harness.adapters.parts.whether` (no labels) and
`harness.adapters.parts.expected` (source images).
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harness.adapters.eb_em_recal import EbEmRecal
from harness.adapters.em import Em
from harness.adapters.parts.chosen import Chosen, estimate_of
from harness.adapters.parts.contract import Adapter, Fitted, WeightedExperts
from harness.adapters.parts.expected import Expected, believed, measured
from harness.adapters.parts.whether import WON, WON_EACH, Unlabelled, unlabelled
from harness.applying.answers import Answers
from harness.evidence.arrays import UnlabelledEvidence

Word = Literal["adapt", "do not adapt", "cannot be told"]

FEW_IMAGES = 100

NO_GAIN = 0.0005
"""A gain or loss that is shown as 0.0 points is none."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether to adapt, why, and the accuracy that is believed in without and with adaptation.

    told_by: what says so: labelled source images, calibrated posteriors, or the model's own posteriors.
    """

    word: Word
    reasons: tuple[str, ...]
    expected: Expected
    told_by: str

    @property
    def interval(self) -> tuple[float, float]:
        """Where the gain lies, in 90 of 100 replicates; the gain that is believed in is within."""
        low, high = np.quantile(self.expected.gains, [0.05, 0.95])
        gain = self.expected.adapted - self.expected.plain
        return min(float(low), gain), max(float(high), gain)

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        low, high = self.interval
        return {
            "word": self.word,
            "reasons": list(self.reasons),
            "told_by": self.told_by,
            "accuracy_without": self.expected.plain,
            "accuracy_with": self.expected.adapted,
            "gain_low": low,
            "gain_high": high,
        }


def verdict(
    read: UnlabelledEvidence, adapter: Adapter, adapted: Fitted, plain: WeightedExperts, tried: Answers, seed: int
) -> Verdict | None:
    """Return whether to adapt with what was fitted; None for `mean`, which does not. tried: its answers.

    Raises ValueError as the estimators do that it asks.
    """
    if adapter.name == "mean":
        return None
    if _has_source(read):
        return _with_source(read, adapter, adapted, plain, tried, seed)
    return _without_labels(read, adapted, tried, seed)


def _has_source(read: UnlabelledEvidence) -> bool:
    return EbEmRecal().missing(read.evidence) is None


def _with_source(
    read: UnlabelledEvidence, adapter: Adapter, adapted: Fitted, plain: WeightedExperts, tried: Answers, seed: int
) -> Verdict:
    evidence, estimator = read.evidence, EbEmRecal()
    if isinstance(adapted, Chosen) and isinstance(adapted.said, Expected):
        expected, told_by = adapted.said, "labelled source images"
    else:
        way = estimate_of(adapted)
        if adapter == estimator and isinstance(way, WeightedExperts):
            estimate = way
        else:
            estimate = estimator.fit(evidence, read.train_counts, read.expert_priors, seed)
        if isinstance(way, WeightedExperts):
            expected, told_by = measured(evidence, estimate, plain, way, seed), "labelled source images"
        else:
            expected = believed(evidence, estimate, tried.plain, tried.classes, seed, evidence.source)
            told_by = "calibrated posteriors"
    if evidence.source is not None and evidence.source.seen:
        told_by += f" (accuracies are too good: {evidence.source.seen:,} source images were trained on)"
    low, high = np.quantile(expected.gains, [0.05, 0.95])
    if low > NO_GAIN:
        return Verdict("adapt", (), expected, told_by)
    if high < -NO_GAIN:
        return Verdict("do not adapt", ("it is expected to lose",), expected, told_by)
    few = (f"{len(evidence.logits)} images are few",) if len(evidence.logits) < FEW_IMAGES else ()
    return Verdict("cannot be told", ("no difference is sure", *few), expected, told_by)


def _without_labels(read: UnlabelledEvidence, adapted: Fitted, tried: Answers, seed: int) -> Verdict:
    evidence, priors = read.evidence, read.expert_priors
    estimate = estimate_of(adapted)
    by_estimate = isinstance(estimate, WeightedExperts) and estimate.mixture is not None
    if not by_estimate:
        estimate = Em().fit(evidence, read.train_counts, priors, seed)
    assert isinstance(estimate, WeightedExperts)
    expected = believed(evidence, estimate, tried.plain, tried.classes, seed, None)
    told_by = "the model's own posteriors, which no labelled image backs"
    if by_estimate:
        said = adapted.said if isinstance(adapted, Chosen) else unlabelled(evidence, priors, tried.changed, seed)
        assert isinstance(said, Unlabelled)
        return Verdict(_word(said), said.reasons, expected, told_by)
    gain = expected.adapted - expected.plain
    if gain > max(WON, WON_EACH * tried.changed):
        return Verdict("adapt", (), expected, told_by)
    reason = f"the model believes in {100 * gain:+.1f} points for {100 * tried.changed:.1f} % of other answers"
    return Verdict("do not adapt", (reason,), expected, told_by)


def _word(said: Unlabelled) -> Word:
    """Return what the four conditions say; where an estimate cannot be believed, nothing is known of the gain."""
    if said.adapt:
        return "adapt"
    return "cannot be told" if said.doubted else "do not adapt"
