"""Recalibrated empirical-Bayes EM where it is expected to win, else no adaptation.

Source: ours, over `eb_em_recal`; the rule stands in `harness.adapters.parts.expected`.
Equation: that of `eb_em_recal` where its accuracy on the labelled source images, each class weighted with its estimated
share, is above that of `mean`, averaged over replicates of the estimate; that of `mean` elsewhere, and `prior` is then
the prior that the mean answers for.
Failures: those of `eb_em_recal`, which rarely loses: the rule hardly ever says no. Source images that were trained on
make both look better than they are.

Access: labelled source images beyond the training set, as `eb_em_recal`.
"""

from dataclasses import dataclass
from typing import ClassVar

from harness.adapters.eb_em_recal import EbEmRecal
from harness.adapters.mean import Mean
from harness.adapters.parts.chosen import Chosen, choose
from harness.adapters.parts.contract import Adapter, Counts
from harness.adapters.parts.expected import measured
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors, target_prior


@dataclass(frozen=True)
class ChooseSource(Adapter):
    """`eb_em_recal` or `mean`, by what labelled source images say."""

    name: ClassVar[str] = "choose_source"
    access: ClassVar[Access] = Access("estimated", "source", "transductive")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> Chosen:
        """Estimate the prior and decide; `seed` decides folds and replicates.

        Raises ValueError where `missing` names a reason and for logits that are not finite.
        """
        adapted = EbEmRecal().fit(evidence, counts, expert_priors, seed)
        plain = Mean().fit(evidence, counts, expert_priors, seed)
        said = measured(evidence, adapted, plain, adapted, seed)
        return choose(plain, target_prior(expert_priors), adapted, said)
