"""Fit a free table of logits on a small known joint distribution: which label prior did each expert find?

A joint p(x, y) over M points and C classes is held as integer cell counts. Its batch repeats each cell as
often as it counts, so any loss (a plain mean, a class-weighted mean) sees exactly p, and `class_counts` are
exactly the train counts. With one free logit vector a point and expert, the minimiser of a loss whose
expert e answers for the label prior p_e has softmax(Z_e(x)) proportional to p_e(y) p(x|y).

    joint = random_joint(points=6, classes=4, seed=0)
    priors = recover_priors(joint, lambda logits, target: sade(logits, target, joint.class_counts), experts=3)
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from methods.core.batch import Batch, ExpertOutput
from methods.core.stage import Step

Loss = Callable[[Tensor, Tensor], Tensor]
"""loss(expert_logits [B, E, C], target [B]) -> scalar."""


@dataclass(frozen=True)
class Joint:
    """A joint distribution p(x, y) proportional to the integer `cells` [M, C], every class present."""

    cells: Int[Tensor, "points classes"]

    @property
    def class_counts(self) -> Int[Tensor, " classes"]:
        """Train counts [C], in int64."""
        return self.cells.sum(0)

    @property
    def prior(self) -> Float[Tensor, " classes"]:
        """pi [C] in float64."""
        return self.class_counts.double() / self.cells.sum()

    @property
    def likelihood(self) -> Float[Tensor, "points classes"]:
        """p(x | y) [M, C] in float64; each column sums to one."""
        return self.cells.double() / self.class_counts

    def batch(self) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """Point index [B] and label [B] of every sample: cell (x, y) appears cells[x, y] times."""
        points, classes = self.cells.shape
        cell = torch.arange(points * classes).repeat_interleave(self.cells.flatten())
        return cell // classes, cell % classes

    def posterior(self, prior: Float[Tensor, "*experts classes"]) -> Float[Tensor, "*experts points classes"]:
        """The stated posterior p(y | x) [..., M, C] under the label prior(s) `prior` [..., C]."""
        weighted = prior.double().unsqueeze(-2) * self.likelihood
        return weighted / weighted.sum(-1, keepdim=True)


def random_joint(points: int, classes: int, seed: int, *, peak: int = 0) -> Joint:
    """A joint with small positive cells, its class totals strictly falling by index.

    peak: each point counts 1 + `peak` times as much for one class of its own: posteriors with a clear argmax.
    """
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(1, 6, (points, classes), generator=generator)
    owner = torch.arange(points)[:, None] % classes == torch.arange(classes)
    cells = cells + peak * cells * owner
    cells = cells[:, cells.sum(0).argsort(descending=True)]
    # Powers of two times falling totals: strictly falling, and an order of magnitude from head to tail.
    return Joint(cells * 2 ** torch.arange(classes - 1, -1, -1))


def fit_table(
    joint: Joint,
    loss: Loss,
    experts: int,
    *,
    descent_steps: int = 0,
    learning_rate: float = 0.1,
    seed: int = 0,
) -> Float[Tensor, "points experts classes"]:
    """Logits Z [M, E, C] in float64 that minimise `loss` on the joint's batch, from a small random start.

    LBFGS by default. A loss with a detached part is not the gradient of anything, and LBFGS's line search may
    fail there: with `descent_steps` > 0 Adam takes that many steps, its rate falling to zero along a cosine.
    """
    generator = torch.Generator().manual_seed(seed)
    points, classes = joint.cells.shape
    table = 0.01 * torch.randn(points, experts, classes, generator=generator, dtype=torch.float64)
    table.requires_grad_()
    index, target = joint.batch()

    if descent_steps:
        adam = torch.optim.Adam([table], lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, descent_steps)
        for _ in range(descent_steps):
            adam.zero_grad()
            loss(table[index], target).backward()
            adam.step()
            schedule.step()
        return table.detach()

    lbfgs = torch.optim.LBFGS(
        [table],
        max_iter=2000,
        tolerance_grad=1e-9,
        tolerance_change=1e-14,
        history_size=50,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        lbfgs.zero_grad()
        value = loss(table[index], target)
        value.backward()
        return value

    lbfgs.step(closure)
    return table.detach()


class Given(nn.Module):
    """Stands in for a network: answers with given expert logits [B, E, C], whatever it is shown or asked for."""

    def __init__(self, logits: Float[Tensor, "batch experts classes"]) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor, *asked: object, **asked_by_name: object) -> ExpertOutput:
        return ExpertOutput(self.logits, self.logits)


def loss_of(step: Step, counts: Int[Tensor, " classes"], *, epoch: int = 0, seed: int = 0) -> Loss:
    """The loss of a method's own training step, as a function of expert logits; it draws the same every time."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        images = torch.zeros(len(target), 3, 1, 1)
        batch = Batch(images, target, counts.to(logits.dtype), generator=generator)
        return step(Given(logits), [batch], epoch)["loss"]

    return loss


def priors_of(joint: Joint, table: Float[Tensor, "points experts classes"]) -> Float[Tensor, "experts classes"]:
    """The label prior that each expert of a fitted table answers for, [E, C].

    p_e(y) is proportional to exp(mean_x (log softmax(Z_e(x))_y - log p(x | y))); every cell must be positive.
    """
    log_prior = table.log_softmax(-1) - joint.likelihood.log()[:, None]
    return log_prior.mean(0).softmax(-1)


def recover_priors(
    joint: Joint, loss: Loss, experts: int, *, descent_steps: int = 0
) -> Float[Tensor, "experts classes"]:
    """Fit a table to `loss` on `joint` and return each expert's recovered label prior [E, C]."""
    return priors_of(joint, fit_table(joint, loss, experts, descent_steps=descent_steps))


def clear_points(
    posterior: Float[Tensor, "*experts points classes"], margin: float = 0.2, majority: bool = False
) -> Bool[Tensor, "*experts points"]:
    """Points whose top posterior leads the second by `margin` and, with `majority`, is well above a half.

    The margins of LDAM at scale 30 make it a hinge loss, whose argmax is the posterior's only where one class
    has the majority: below a half, equal logits may cost less than any winner.
    """
    top = posterior.topk(2, dim=-1).values
    clear = top[..., 0] - top[..., 1] > margin
    return clear & (top[..., 0] > 0.5 + margin / 2) if majority else clear
