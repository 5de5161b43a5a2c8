"""EM where the images themselves vouch for it, else no adaptation.

Source: ours; EM is Saerens et al., Neural Computation 2002. The rule, its constants and what they were chosen and
confirmed on stand in `harness.adapters.parts.whether`.
Equation: that of `em` where the rule trusts it, that of `mean` where not; `prior` is then the prior that the mean
answers for.
Failures: those of `em` where the rule errs. It errs most where classes are lopsided without an order and the network
was trained with a balanced loss.
"""

from dataclasses import dataclass
from typing import ClassVar

from harness.adapters.em import Em
from harness.adapters.mean import Mean
from harness.adapters.parts.chosen import Chosen, choose
from harness.adapters.parts.contract import Adapter, Counts
from harness.adapters.parts.whether import changed, unlabelled
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors, target_prior


@dataclass(frozen=True)
class Choose(Adapter):
    """`em` or `mean`, by a rule that needs no label."""

    name: ClassVar[str] = "choose"
    access: ClassVar[Access] = Access("estimated", "none", "transductive")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> Chosen:
        """Estimate the prior and decide; `seed` decides the halves.

        Raises ValueError for logits that are not finite and priors that do not belong to them.
        """
        adapted = Em().fit(evidence, counts, expert_priors, seed)
        plain = Mean().fit(evidence, counts, expert_priors, seed)
        said = unlabelled(evidence, expert_priors, changed(evidence, plain, adapted), seed)
        return choose(plain, target_prior(expert_priors), adapted, said)
