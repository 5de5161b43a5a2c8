"""Knowledge distillation of a teacher's logits."""

from jaxtyping import Float
from torch import Tensor

from methods.losses.arguments import full_precision


def distillation(
    student_logits: Float[Tensor, "batch classes"],
    teacher_logits: Float[Tensor, "batch classes"],
    temperature: float = 1.5,
) -> Float[Tensor, ""]:
    """Return Td^2 * KL(softmax(teacher/Td) || softmax(student/Td)), summed over classes, mean over the batch.

    Both logits are [B, C]; in RIDE both are means over experts (the released code distils the ensemble, not
    each expert, with Td = 1.5). Source: Hinton et al., 2015; Wang et al., ICLR 2021. Detached: the teacher.
    """
    if student_logits.ndim != 2 or student_logits.shape != teacher_logits.shape or 0 in student_logits.shape:
        shapes = f"{tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}"
        raise ValueError(f"student and teacher logits must both be [batch, classes], not empty, not {shapes}")
    if not temperature > 0:
        raise ValueError(f"a temperature must be positive, not {temperature}")
    teacher = (full_precision(teacher_logits.detach()) / temperature).log_softmax(-1)
    student = (full_precision(student_logits) / temperature).log_softmax(-1)
    return temperature**2 * (teacher.exp() * (teacher - student)).sum(-1).mean()
