"""A new method, focal loss (Lin et al., ICCV 2017): `python examples/new_method.py --methods softmax focal_softmax`"""

import sys
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F

from harness.run import main
from methods import papers
from methods.core.method import Method
from methods.core.priors import ExpertPriors, normalise
from methods.networks import build


@dataclass(frozen=True)
class Focal(Method):
    name = "focal_softmax"
    gamma: float = 2.0

    def expert_priors(self, counts, preference=None):
        return ExpertPriors(normalise(np.asarray(counts))[None], exact=False)

    def network(self, spec):
        return build(spec, 1, reduced=False)

    def stages(self, recipe):
        return [recipe.stage(self.step)]

    def step(self, network, batches, epoch):
        log_p = F.log_softmax(network(batches[0].images).logits[:, 0].float(), 1)
        log_p = log_p.gather(1, batches[0].target[:, None])
        return {"loss": -((1 - log_p.exp()) ** self.gamma * log_p).mean()}


if __name__ == "__main__":
    papers.METHODS["focal_softmax"] = f"{__name__}:Focal"
    sys.exit(main(sys.argv[1:]))
