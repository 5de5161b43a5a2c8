"""Routing: what each threshold of RIDE's gates costs and keeps, on every shift, from stored gate logits.

Source: Wang et al., ICLR 2021, test time of stage 2; the threshold in the released code is 0.5. Every image is shown
to expert 0; it goes on from expert i to i+1 while sigmoid of gate i exceeds the threshold, and an image that stopped
stays stopped. Prediction: the mean of the logits of the experts that were run. MACs count those experts only, and not
the gates, as RIDE's paper does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import nn

from harness.adapters.routed import RoutedExperts
from harness.evidence.arrays import Evidence, PoolEvidence
from harness.measures.metrics import group_accuracies, shot_groups
from harness.studies.route.defaults import THRESHOLDS
from methods.core.batch import NetworkSpec
from methods.core.method import Method
from methods.networks.macs import split_macs

PUBLISHED = 0.5
"""The released code's threshold."""


@dataclass(frozen=True)
class Route:
    """One threshold on one draw. Accuracies are fractions, a shot group without a class in the draw is None.

    shares: of the drawn images that were shown to exactly 1..E experts; by_group: the same of the images of a group's
    classes. top1_all: the mean of all experts on the same images.
    """

    threshold: float
    top1: float
    many: float | None
    medium: float | None
    few: float | None
    macro: float
    top1_all: float
    shares: list[float]
    by_group: dict[str, list[float] | None]

    @property
    def mean_experts(self) -> float:
        """Mean number of experts run on an image."""
        return float(np.arange(1, len(self.shares) + 1) @ np.array(self.shares))


def routes(
    pool: PoolEvidence, draws: Sequence[Int[np.ndarray, " drawn"]], thresholds: Sequence[float] = THRESHOLDS
) -> list[list[Route]]:
    """Return the route of every threshold on every draw (indices into the pool).

    Raises ValueError for unusable gate logits.
    """
    evidence = pool.evidence
    experts, classes = evidence.logits.shape[1:]
    right = prefix_correct(evidence, pool.labels)
    used = [RoutedExperts(threshold).used(evidence) for threshold in thresholds]
    groups = shot_groups(pool.train_counts)
    found = []
    for draw in draws:
        labels = pool.labels[draw]
        total = np.bincount(labels, minlength=classes)
        members = {name: np.isin(labels, classes_of) for name, classes_of in groups.items()}
        everyone = float(right[draw, -1].mean())
        of_draw = []
        for threshold, shown in zip(thresholds, used, strict=True):
            run = shown[draw]
            correct = right[draw, run - 1]
            hits = np.bincount(labels[correct], minlength=classes)
            of_draw.append(
                Route(
                    threshold=threshold,
                    top1=float(correct.mean()),
                    **group_accuracies(hits, total, groups),
                    macro=float((hits[total > 0] / total[total > 0]).mean()),
                    top1_all=everyone,
                    shares=_shares(run, experts),
                    by_group={
                        name: _shares(run[mask], experts) if mask.any() else None for name, mask in members.items()
                    },
                )
            )
        found.append(of_draw)
    return found


def prefix_correct(evidence: Evidence, labels: Int[np.ndarray, " images"]) -> Bool[np.ndarray, "images experts"]:
    """Return whether the mean of the first k experts' logits is right, for k = 1..E."""
    experts = evidence.logits.shape[1]
    right = np.empty((len(labels), experts), dtype=bool)
    for last in range(experts):
        weights = ((np.arange(experts) <= last) / (last + 1)).astype(np.float32)
        right[:, last] = np.einsum("nec,e->nc", evidence.logits, weights).argmax(axis=1) == labels
    return right


def macs_of(method: Method, spec: NetworkSpec) -> tuple[int, int] | None:
    """Return the MACs of one image that all experts share, and those of each expert; gates are not counted.

    None for a method whose number of experts is not an option, so that two sizes of it cannot be compared.
    """
    if "experts" not in {field.name for field in fields(method)}:
        return None

    def build(experts: int) -> nn.Module:
        return replace(method, experts=experts).network(spec)  # type: ignore[call-arg]

    with torch.device("meta"):  # counted without weights, whatever the network's size
        return split_macs(build, spec.image_size)


def _shares(used: Int[np.ndarray, " drawn"], experts: int) -> list[float]:
    counts: Float[np.ndarray, " experts"] = np.bincount(used, minlength=experts + 1)[1:] / len(used)
    return [float(share) for share in counts]
