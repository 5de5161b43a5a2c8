"""ride_distilled (Wang et al., ICLR 2021): RIDE taught by a RIDE of six experts that is trained first in the same run.

Student's loss as released, K experts: K * [ L_RIDE + alpha * Td^2 * KL(softmax(t / Td) || softmax(zbar / Td)) ], where
t and zbar are the teacher's and the student's mean of logits, Td = 1.5 (`temperature`), alpha = 1; t is detached.
Departure of the code from the paper, kept as released: it distils the mean, not each expert, and sums the whole loss
K times, which comes to a K times larger learning rate; `summed=false` leaves the factor out.
Departure from the code: `teacher_bn` is `eval`; the released code never put the teacher into evaluation mode, so its
BatchNorm used each batch's statistics and its running ones drifted: `teacher_bn=batch`.
Stages: teacher (ride's stage 1 with `teacher_experts`), experts (the student; warm-up over a tenth of the epochs, 20 of
200, on images held in memory as CIFAR's; the recipe's own on 224-pixel data), gate (as in ride). The teacher has ride's
options and is dropped at the end: parameters, MACs and the checkpoint are the student's alone, 783,856 parameters and
the gates' 1,615 with three experts.
Expected on CIFAR100-LT IF100, uniform test, routed, in the released zoo: 49.0 with three experts, 49.4 with four;
the teacher, all experts run, 50.2. Single reruns of ride alone spread over 47.7-49.0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from methods.core.batch import Batch, ExpertOutput, NetworkSpec
from methods.core.recipe import Recipe
from methods.core.stage import Stage
from methods.losses import distillation
from methods.networks import ExpertNetwork, build
from methods.networks.routing import GatedExperts
from methods.papers.ride import Ride


class Pair(nn.Module):
    """Images -> the student's ExpertOutput; the teacher is there for the student's loss."""

    def __init__(self, student: GatedExperts, teacher: ExpertNetwork) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> ExpertOutput:
        return cast(ExpertOutput, self.student(images))


@dataclass(frozen=True)
class RideDistilled(Ride):
    name: ClassVar[str] = "ride_distilled"
    version: ClassVar[int] = 1
    teacher_experts: int = 6
    teacher_bn: Literal["eval", "batch"] = "eval"
    alpha: float = 1.0
    temperature: float = 1.5
    summed: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher_experts < 2 or self.alpha < 0 or not self.temperature > 0:
            raise ValueError(
                f"need teacher_experts >= 2, alpha >= 0, temperature > 0, not {self.teacher_experts}, {self.alpha}, "
                f"{self.temperature}"
            )

    def training_network(self, spec: NetworkSpec) -> Pair:
        return Pair(self.network(spec), build(spec, self.teacher_experts, reduced=True))

    def trained_network(self, training_network: nn.Module) -> nn.Module:
        assert isinstance(training_network, Pair)
        return training_network.student

    def stages(self, recipe: Recipe) -> list[Stage]:
        teacher = self.experts_stage(recipe, self.teacher_step, of="teacher.", name="teacher")
        student = self.experts_stage(
            recipe,
            self.student_step,
            of="student.experts.",
            warmup=max(recipe.warmup, round(recipe.epochs / 10)) if recipe.crop == "pad" else recipe.warmup,
        )
        gate = self.gate_stage(recipe, of="student.gate.")
        return [teacher, replace(student, freeze=self.teacher_bn == "eval"), gate]

    def stage_macs(self, spec: NetworkSpec, stage: Stage, count: Callable[[nn.Module], int]) -> float:
        student, teacher = count(self.network(spec)), count(build(spec, self.teacher_experts, reduced=True))
        return {"teacher": teacher, "experts": student + teacher / 3}.get(stage.name, student)

    def teacher_step(
        self, network: nn.Module, batches: Sequence[Batch], epoch: int, reweight_from: int
    ) -> dict[str, Tensor]:
        """Return RIDE's loss of the teacher."""
        assert isinstance(network, Pair)
        return self.step(network.teacher, batches, epoch, reweight_from)

    def student_step(
        self, network: nn.Module, batches: Sequence[Batch], epoch: int, reweight_from: int
    ) -> dict[str, Tensor]:
        """Return RIDE's loss of the student and the distance of its mean of logits from the teacher's."""
        assert isinstance(network, Pair)
        (batch,) = batches
        with torch.no_grad():
            teacher = network.teacher(batch.images).logits.mean(1)
        logits = network.student(batch.images).logits
        own = self.loss(logits, batch, reweighted=epoch >= reweight_from)
        taught = self.alpha * distillation(logits.mean(1), teacher, self.temperature)
        factor = self.experts if self.summed else 1
        return {"loss": factor * (own + taught), "ride": own.detach(), "distillation": taught.detach()}
