"""A method whose loss and stages a test chooses, a network whose gradients are known, and training them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from methods import papers
from methods.core.batch import Batch, ExpertOutput, NetworkSpec
from methods.core.method import Method
from methods.core.priors import ExpertPriors, normalise
from methods.core.recipe import Recipe
from methods.core.stage import Stage
from methods.networks.cifar_resnet import expert_resnet
from methods.pixels.data import TrainingImages
from methods.training.loop import Trained, train
from tests.methods import tiny

THREE = replace(tiny.RECIPE, epochs=3, milestones=(2, 3))


def fit(
    method: Method | str,
    folder: Path,
    *,
    seed: int = 1,
    key: str = "key",
    recipe: Recipe = THREE,
    data: TrainingImages | None = None,
    progress: Callable[[str, int, int, float], None] = lambda stage, epoch, epochs, loss: None,
) -> Trained:
    """Train on a tiny set, resumably in `folder`."""
    chosen = papers.get(method) if isinstance(method, str) else method
    images = tiny.images() if data is None else data
    return train(chosen, recipe, images, seed, resume=folder / "run.safetensors", key=key, progress=progress)


class Weights(nn.Module):
    """A network whose logits are one vector for all images, [1, C], so that gradients are known."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(classes))
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> ExpertOutput:
        logits = self.weight.expand(len(images), 1, -1)
        return ExpertOutput(logits, self.norm(images).mean((2, 3))[:, None])


Loss = Callable[[nn.Module, Batch, int], Tensor]


@dataclass(frozen=True)
class Probe(Method):
    """A method of one's own stages and loss (zero for all weights); `seen` keeps the batches of its steps."""

    name = "probe"
    loss: Loss = lambda network, batch, epoch: sum(part.sum() * 0 for part in network(batch.images))
    plain: bool = True
    form: Callable[[Stage], list[Stage]] = lambda stage: [stage]
    seen: list[Batch] = field(default_factory=list)

    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        return ExpertPriors(normalise(counts)[None], exact=True)

    def network(self, spec: NetworkSpec) -> nn.Module:
        return Weights(spec.classes) if self.plain else expert_resnet(spec, 1, reduced=True)

    def stages(self, recipe: Recipe) -> list[Stage]:
        return self.form(recipe.stage(self.step))

    def step(self, network: nn.Module, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
        (batch,) = batches
        self.seen.append(batch)
        return {"loss": self.loss(network, batch, epoch)}


def one_class_an_image(size: int) -> TrainingImages:
    """Image i is of class i, and grey value i everywhere; pixels are not normalised."""
    pixels = torch.arange(size, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4).contiguous()
    return TrainingImages(pixels, torch.arange(size), torch.ones(size), torch.zeros(3), torch.ones(3))


def settings_of(**changes: object) -> Callable[[Stage], list[Stage]]:
    return lambda stage: [replace(stage, **changes)]  # type: ignore[arg-type]
