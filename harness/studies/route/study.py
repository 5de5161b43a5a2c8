"""The routing studies of a command line: every threshold from stored gate logits, and the measured run."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from harness.adapters.routed import RoutedExperts
from harness.evidence.arrays import PoolEvidence
from harness.protocol.draws import Draws
from harness.records.study_rows import StudyRow
from harness.session.models import Model
from harness.session.request import Request
from harness.studies.route.defaults import METHODS, THRESHOLDS
from harness.studies.route.routing import PUBLISHED, Route, macs_of, routes
from harness.studies.route.rows import MeasuredRow, RouteRow
from harness.studies.study import Study
from methods.jobs.job import TrainingJob, device_name
from methods.jobs.request import TrainingRequest
from methods.networks.routing import GatedExperts
from methods.networks.skipping import forward_routed
from shifts.common.errors import BadInput, WorkFailed

MEASURED_BYTES = 2**29
"""Most memory that the images of a measured run take."""


@dataclass(frozen=True)
class RouteRequest(Request["RouteStudy"]):
    """Probabilities above which an image goes on to the next expert."""

    training: TrainingRequest = TrainingRequest(methods=METHODS)
    thresholds: tuple[float, ...] = THRESHOLDS

    def made(self, jobs: Sequence[TrainingJob]) -> "RouteStudy":
        """Return the study over these jobs' models, or the stranger's."""
        return RouteStudy(self, jobs)


class RouteStudy(Study):
    """Every threshold on every shift."""

    row: ClassVar[type[StudyRow]] = RouteRow

    def __init__(self, request: RouteRequest, jobs: Sequence[TrainingJob]) -> None:
        self.request = request
        super().__init__(request, jobs)

    def check(self, model: Model) -> None:
        """Raise BadInput for a model without gates."""
        check_gates(model)

    def settings(self, model: Model) -> dict[str, Any]:
        """Return the thresholds."""
        return {"thresholds": self._thresholds()}

    def measure(self, model: Model, pool: PoolEvidence, draws: Sequence[Draws]) -> Iterator[list[dict[str, Any]]]:
        """Yield one row a threshold, shift by shift."""
        experts = pool.evidence.logits.shape[1]
        macs = None if model.job is None else macs_of(model.job.method, model.job.spec)
        for of_draw in routes(pool, [drawn.published[0].indices for drawn in draws], self._thresholds()):
            yield [_fields(route, experts, macs) for route in of_draw]

    def routed(self) -> list[RouteRow]:
        """Return the stored rows of what was asked for."""
        return cast(list[RouteRow], self.rows())

    def _thresholds(self) -> list[float]:
        return sorted({*self.request.thresholds, PUBLISHED})


def _fields(route: Route, experts: int, macs: tuple[int, int] | None) -> dict[str, Any]:
    names = ("threshold", "top1", "many", "medium", "few", "macro", "top1_all", "shares", "mean_experts")
    return {
        **{name: getattr(route, name) for name in names},
        **{f"shares_{group}": shares for group, shares in route.by_group.items()},
        "experts": experts,
        "published": route.threshold == PUBLISHED,
        "macs": None if macs is None else macs[0] + macs[1] * route.mean_experts,
        "macs_all": None if macs is None else float(macs[0] + macs[1] * experts),
    }


def check_gates(model: Model) -> None:
    """Raise BadInput for a model without gates."""
    gates = model.subject.blank.gate_logits
    if gates is None or gates.shape[1] == 0:
        name = model.subject.fields["method"]
        raise BadInput(f"{name} has no gates between its experts; methods that have some: ride, ride_distilled")


@dataclass(frozen=True)
class MeasureRequest(Request["MeasuredStudy"]):
    """Runs against the clock: `repeats` in which stopped images skip the later experts, and as many without."""

    training: TrainingRequest = TrainingRequest(methods=METHODS)
    repeats: int = 5

    def made(self, jobs: Sequence[TrainingJob]) -> "MeasuredStudy":
        """Return the study over these jobs' models."""
        return MeasuredStudy(self, jobs)


class MeasuredStudy(Study):
    """Wall time with stopped images really skipping later experts, beside always running all."""

    row: ClassVar[type[StudyRow]] = MeasuredRow
    alone = True  # the clock runs

    def __init__(self, request: MeasureRequest, jobs: Sequence[TrainingJob]) -> None:
        self.request = request
        super().__init__(request, jobs)

    def check(self, model: Model) -> None:
        """Raise BadInput for a model without gates or without a network."""
        check_gates(model)
        if model.job is None:
            raise BadInput("--measure runs a network and does not go with --evidence")

    def settings(self, model: Model) -> dict[str, Any]:
        """Return what was timed, and where."""
        return {
            "threshold": PUBLISHED,
            "repeats": self.request.repeats,
            "device": device_name(self.device),
            "threads": torch.get_num_threads(),
        }

    def measure(self, model: Model, pool: PoolEvidence, draws: Sequence[Draws]) -> Iterator[list[dict[str, Any]]]:
        """Yield one row a shift."""
        job = model.job
        assert job is not None  # `check` refused it
        network = cast(GatedExperts, job.network(self.results, self.device))
        macs = macs_of(job.method, job.spec)
        for drawn in draws:
            indices = self._part(job, drawn.published[0].indices)
            batches = list(self.pools.of(job, job.dataset.test, indices).clean())
            yield [self._measured(network, batches, pool, indices, macs)]

    def measured(self) -> list[MeasuredRow]:
        """Return the stored rows of what was asked for."""
        return cast(list[MeasuredRow], self.rows())

    def _part(self, job: TrainingJob, drawn: Int[np.ndarray, " drawn"]) -> Int[np.ndarray, " images"]:
        """Return the images to time, in an order that mixes classes: batches of one class would all stop alike."""
        height, width = job.spec.image_size
        room = max(MEASURED_BYTES // (12 * height * width), 1)
        return np.random.default_rng(0).permutation(drawn)[:room]

    @torch.inference_mode()
    def _measured(
        self,
        network: GatedExperts,
        batches: Sequence[Float[Tensor, "batch 3 height width"]],
        pool: PoolEvidence,
        indices: Int[np.ndarray, " images"],
        macs: tuple[int, int] | None,
    ) -> dict[str, Any]:
        def everyone() -> list[Tensor]:
            return [network(batch).logits.mean(1) for batch in batches]

        def skipping() -> list[tuple[Tensor, Tensor]]:
            return [forward_routed(network, batch, PUBLISHED) for batch in batches]

        found = skipping()  # also warms up, as the next line does
        everyone()
        logits, used = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
        if not np.isfinite(logits).all():
            raise WorkFailed("the network gives NaN or infinite logits")
        rounds = [(*self._timed(everyone), *self._timed(skipping)) for _ in range(self.request.repeats)]
        seconds_all, cpu_all, seconds, cpu = map(list, zip(*rounds, strict=True))
        stored, adapter = pool.evidence.take(indices), RoutedExperts(PUBLISHED)
        same = adapter.used(stored) == used
        differences = np.abs(adapter.predict(stored) - logits)[same]
        mean_experts = float(used.mean())
        return {
            "device": device_name(self.device),
            "threads": torch.get_num_threads(),
            "batch": max(map(len, batches)),
            "threshold": PUBLISHED,
            "images": len(indices),
            "mean_experts": mean_experts,
            "macs": None if macs is None else macs[0] + macs[1] * mean_experts,
            "macs_all": None if macs is None else float(macs[0] + macs[1] * stored.logits.shape[1]),
            "seconds": seconds,
            "seconds_all": seconds_all,
            "cpu_seconds": cpu,
            "cpu_seconds_all": cpu_all,
            "agreed": float(same.mean()),
            "largest_difference": float(differences.max()) if same.any() else 0.0,
        }

    def _timed(self, run: Callable[[], Any]) -> tuple[float, float]:
        """Return wall and processor time in seconds, including what the device still has to do."""
        self._wait()
        start, spent = time.perf_counter(), time.process_time()
        run()
        self._wait()
        return time.perf_counter() - start, time.process_time() - spent

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
