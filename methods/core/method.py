"""What a method is: its experts' priors, its network, its stages."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Int
from torch import nn

from methods.core.batch import NetworkSpec
from methods.core.priors import ExpertPriors
from methods.core.stage import Stage
from shifts.images.entries import Task

if TYPE_CHECKING:
    from methods.core.recipe import Recipe


@dataclass(frozen=True)
class Method(ABC):
    """One paper. Subclasses are frozen dataclasses; their fields are the options that ride on the name."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    task: ClassVar[Task] = "single_label"
    """What its data are: images of one class each, or of a set of labels each."""
    has_gates: ClassVar[bool] = False
    """Whether its network has routing gates between experts (`gate_logits`)."""
    has_preference: ClassVar[bool] = False
    """Whether its network is a PreferenceNetwork, whose heads follow a preference over the experts."""

    @abstractmethod
    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        """Return the label prior that each expert's softmax answers for, by its loss, for train counts [C]."""

    @abstractmethod
    def network(self, spec: NetworkSpec) -> nn.Module:
        """Return a freshly initialised network that maps images to an ExpertOutput."""

    def training_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the module that the stages train: `network`, or one with a part for training only (a teacher)."""
        return self.network(spec)

    def trained_network(self, training_network: nn.Module) -> nn.Module:
        """Return the part of `training_network` that is kept, counted and evaluated; of the same form as `network`."""
        return training_network

    @abstractmethod
    def stages(self, recipe: "Recipe") -> list[Stage]:
        """Return the training stages under a recipe, in order."""

    def stage_macs(self, spec: NetworkSpec, stage: Stage, count: Callable[[nn.Module], int]) -> float:
        """Estimate the MACs that an image of a batch costs in a stage; a third where no gradient flows.

        count: MACs of a network's forward pass.
        """
        return count(self.network(spec))
