"""A new method: focal loss (Lin et al., ICCV 2017) on the contracts of `methods`.

    python examples/new_method.py --shift backward_lt --methods softmax focal:gamma=1

In the project it is one file in methods/ and one line in methods/__init__.py.
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F

import methods
from harness.run import main
from methods.expert import Method, NetworkSpec, Stage
from methods.networks.cifar_resnet import expert_resnet
from methods.priors import ExpertPriors, normalise
from methods.recipe import Recipe


@dataclass(frozen=True)
class Focal(Method):
    name = "focal"
    gamma: float = 2.0

    def expert_priors(self, counts, preference=None) -> ExpertPriors:
        return ExpertPriors(normalise(np.asarray(counts))[None], exact=False)

    def network(self, spec: NetworkSpec):
        return expert_resnet(spec, experts=1, reduced=False)

    def stages(self, recipe: Recipe) -> list[Stage]:
        return [recipe.stage(self.step)]

    def step(self, network, batches, epoch):
        (batch,) = batches
        log_p = F.log_softmax(network(batch.images).logits[:, 0].float(), 1).gather(1, batch.target[:, None])
        return {"loss": -((1 - log_p.exp()) ** self.gamma * log_p).mean()}


if __name__ == "__main__":
    methods.METHODS["focal"] = f"{__name__}:Focal"
    sys.exit(main(sys.argv[1:]))
