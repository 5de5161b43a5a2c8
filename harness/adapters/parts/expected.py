"""The gain that is expected of adapting, told by calibrated posteriors or by labelled source images (no adapter).

With labelled source images accuracy is measured on them, each class weighted with its estimated share: adapting is
trusted where it is expected to win, averaged over replicates of the estimate (`harness.adapters.parts.spread`) and of
the source images.

With source images, below the better of `mean` and `eb_em_recal`: rule .03, never 12.8, always .04; worst row -1.1
instead of -14.7 (518 sets of 37 networks); where the 90 % interval of the gain is above 0, 2 in 1,000 lose. Accuracy
told by source images is 2.8 points off without and 3.7 with adaptation (10 classes; 1.2 and 1.4 with 100), against 3.5
and 4.4 (2.9, 2.8) for the mean calibrated probability of the answers.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from harness.adapters.parts.calibration import Calibration
from harness.adapters.parts.contract import Ratios, WeightedExperts
from harness.adapters.parts.spread import replicates
from harness.adapters.parts.whether import Answered, answers
from harness.evidence.arrays import Evidence, Source
from shifts.common.blocks import row_blocks


@dataclass(frozen=True, eq=False)
class Expected:
    """Shares of images that are answered rightly without and with adaptation, as far as that can be told.

    gains: of adaptation, in replicates of the estimate and of what else it was told by.
    """

    plain: float
    adapted: float
    gains: Float[np.ndarray, " replicates"]

    @property
    def adapt(self) -> bool:
        """True where adaptation is expected to win."""
        return float(self.gains.mean()) > 0


def believed(
    evidence: Evidence, estimate: WeightedExperts, plain: Answered, adapted: Answered, seed: int, source: Source | None
) -> Expected:
    """Return what the posteriors under an estimate with a mixture say: the mean probability of the answers.

    plain, adapted: answers without and with adaptation. source: what the mixture was calibrated on, if it was; without
    one posteriors are as sure as the model is, and mostly that is too sure.
    """
    mixture, prior = estimate.mixture, estimate.prior
    assert mixture is not None
    assert prior is not None
    calibration = Calibration(mixture.slope, mixture.bias, mixture.prior)
    others = replicates(evidence, prior, mixture, source, seed)
    generator = np.random.default_rng((seed, 3))
    images, _, classes = evidence.logits.shape
    sums, gains = np.zeros(2), np.zeros(len(others))
    for rows in row_blocks(images, classes):
        ratios = calibration.ratios(evidence.take(rows, ())).astype(np.float64)
        sums += [_right(ratios, prior[None], answered[rows]).sum() for answered in (plain, adapted)]
        moved = plain[rows] != adapted[rows]
        won, lost = (_right(ratios[moved], others, answered[rows][moved]) for answered in (adapted, plain))
        gains += (generator.exponential(size=won.shape) * (won - lost)).sum(axis=0)
    return Expected(float(sums[0] / images), float(sums[1] / images), gains / images)


def measured(
    evidence: Evidence, estimate: WeightedExperts, plain: WeightedExperts, adapted: WeightedExperts, seed: int
) -> Expected:
    """Return what the labelled source images say, weighted so that their classes have the estimated shares.

    estimate: with a mixture that was calibrated on them.
    """
    source, prior, mixture = evidence.source, estimate.prior, estimate.mixture
    assert source is not None
    assert prior is not None
    assert mixture is not None
    order = np.argsort(source.labels, kind="stable")
    labels, shown = source.labels[order], Evidence(source.logits[order])
    right = np.stack([answers(shown, fitted) == labels for fitted in (plain, adapted)]).astype(np.float64)
    first = np.searchsorted(labels, np.arange(len(prior)))
    by_class = np.add.reduceat(right, first, axis=1) / np.bincount(labels, minlength=len(prior))
    others = replicates(evidence, prior, mixture, source, seed)
    weights = np.random.default_rng((seed, 4)).exponential(size=(len(others), len(labels)))
    gained = np.add.reduceat(weights * (right[1] - right[0]), first, axis=1) / np.add.reduceat(weights, first, axis=1)
    return Expected(float(prior @ by_class[0]), float(prior @ by_class[1]), (others * gained).sum(axis=1))


def _right(
    ratios: Ratios, priors: Float[np.ndarray, "priors classes"], answered: Answered
) -> Float[np.ndarray, "images priors"]:
    """Return the probability that each answer is right, under each prior."""
    own = ratios[np.arange(len(answered)), answered]
    return np.asarray(own[:, None] * priors[:, answered].T / (ratios @ priors.T))
