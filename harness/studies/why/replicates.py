"""Models of one method over training draws and train seeds: made where missing, asked once, their answers kept."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from harness.evidence import tensors
from harness.passes import gather as passes
from harness.session import subject
from harness.session.models import Model
from harness.session.session import Session
from harness.session.subject import data_fields, recipe_sha256
from harness.studies.why import answers
from methods.jobs.forecast import training_left, weights_to_come
from methods.jobs.job import TrainingJob
from methods.jobs.request import TrainingRequest, check_packed
from methods.networks.folding import fold_batchnorm
from methods.processes.threads import threads
from methods.training import checkpoint
from shifts.labels.draw import indices_sha256
from shifts.labels.shift import Shift
from shifts.sets.resolve import resolve
from shifts.sets.training import TrainingSet

ABOUT = (
    "method",
    "method_version",
    "recipe",
    "recipe_sha256",
    "train_seed",
    "train_version",
    "checkpoint_sha256",
    "indices_sha256",
)
"""What answers say of their model besides the data."""


@dataclass(frozen=True)
class WhyRequest:
    """Models of a method, one for each training draw (`train_subset_seed`) and train seed."""

    training: TrainingRequest = TrainingRequest(seeds=(0, 1))
    draws: tuple[int, ...] = (0, 1, 2, 3, 4)

    def of_draw(self, seed: int) -> TrainingRequest:
        """Return the training of one draw."""
        return replace(self.training, data=replace(self.training.data, train_subset_seed=seed))

    def session(self, decode: bool = True) -> "Replicates":
        """Return the session that does it. Reads data, writes nothing; raises BadInput."""
        return Replicates(self, decode)


class Replicates(Session):
    """Every model of a request: trained where missing, asked once for the uniform test set."""

    asks = "models"
    keeps = "answers"

    def __init__(self, request: WhyRequest, decode: bool = True) -> None:
        super().__init__(request, request.training)
        draws: list[TrainingSet] = []
        self.jobs: list[TrainingJob] = []
        # All draws of one seed before the next seed: a run that is stopped early has whole sets of draws.
        for job in request.of_draw(request.draws[0]).jobs(decode):
            draws = draws or list(_draws(request, job))
            self.jobs += [replace(job, training=training) for training in draws]
        if self.training.pretrained is not None:
            check_packed(self.jobs, self.training.pretrained, self.results)
        first = self.jobs[0]
        self.indices, _ = resolve(first.dataset, Shift("uniform"), first.training.counts)
        self.models = [Model(subject.of_job(job, views=0), job=job) for job in self.jobs]
        if len(draws) < 3:
            self.notes.append(f"training draws: {len(draws)}; an interval needs three or more")

    @property
    def folder(self) -> Path:
        """Where answers are kept."""
        return answers.folder(self.results)

    def path(self, job: TrainingJob) -> Path:
        """Return where the answers of a job's checkpoint are or will be."""
        return self.folder / f"{job.stem}.safetensors"

    def key(self, job: TrainingJob, sha256: str) -> str:
        """Return the key of the answers of a checkpoint."""
        return answers.key(sha256, job.dataset.test.fingerprint, indices_sha256(self.indices))

    def asked(self, model: Model) -> list[TrainingJob]:
        """Return the job of a model: its answers are asked for."""
        assert model.job is not None
        return [model.job]

    def missing(self, model: Model) -> list[TrainingJob]:
        """Return the job of a model whose answers are not stored; they are good also without the checkpoint."""
        return [job for job in self.asked(model) if not self._answered(job)]

    def _answered(self, job: TrainingJob) -> bool:
        found = answers.stored(self.path(job))
        if found is None:
            return False
        described = checkpoint.describe(job.path(self.results))
        wanted = self.key(job, found.checkpoint_sha256 if described is None else described["sha256"])
        return (found.key, found.recipe_sha256) == (wanted, recipe_sha256(job))

    def forecast(self) -> str:
        """Return the plan as text, a line a method: what would be trained, what only asked, what is done."""
        lines, total = [f"note: {note}" for note in self.notes], 0.0
        for method in dict.fromkeys(job.method_name for job in self.jobs):
            models = [model for model in self.models if model.subject.fields["method"] == method]
            left = [job for model in models for job in self.missing(model)]
            bare = [job for job in left if checkpoint.describe(job.path(self.results)) is None]
            cost = sum(weights_to_come(job, self.results)[1] for job in bare)
            total += cost
            text = f"{method}: {len(models) - len(left)} of {len(models)} models answered"
            if bare:  # all of a command's jobs have the same zoo, or none
                text += f"; {len(bare)} "
                text += (
                    f"to train, {cost / 1e12:.1f} TFLOP" if bare[0].zoo is None else f"with weights from {bare[0].zoo}"
                )
            lines.append(text)
        return "\n".join([*lines, *self.ends(total)])

    def ends(self, operations: float) -> list[str]:
        """Return the cost of training."""
        return [training_left(operations)]

    def compute(self, model: Model, patience: float) -> None:
        """Ask a model, and store its answers."""
        (job,) = self.asked(model)
        with job.lock(self.results).acquire(timeout=patience), threads(job.threads):
            sha256 = self.trained(job)["sha256"]
            logits = self._stored_logits(job, sha256)
            if logits is None:
                pool = self.pools.of(job, job.dataset.test, self.indices)
                network = fold_batchnorm(job.network(self.results, self.device), job.spec.image_size)
                read = passes.collected(passes.forward(network, pool.clean(), "fp32"), logits=passes.read_logits)
                logits = read["logits"]
        about = model.subject.fields | {"checkpoint_sha256": sha256, "indices_sha256": indices_sha256(self.indices)}
        names = (*data_fields(job.dataset, job.training), *ABOUT)
        made = answers.answer(logits, job.dataset.test.labels[self.indices], {name: about[name] for name in names})
        answers.save(self.path(job), made)

    def _stored_logits(self, job: TrainingJob, sha256: str) -> Float[np.ndarray, "images experts classes"] | None:
        """Return the clean logits from float32 evidence of this checkpoint; None where there is none.

        The evidence may have any number of views.
        """
        for path in sorted(passes.path(job, self.results, 0, "fp32").parent.glob(f"{job.stem}-v*.safetensors")):
            views = path.stem.rpartition("-v")[2]
            found = tensors.metadata(path)
            if found is None or not views.isdigit() or found.get("key") != passes.key(job, sha256, int(views), "fp32"):
                continue
            try:
                with safe_open(path, framework="np") as stream:
                    logits: Float[np.ndarray, "images experts classes"] = stream.get_tensor("logits")
                    return logits[self.indices]
            except (SafetensorError, OSError):
                continue
        return None


def _draws(request: WhyRequest, job: TrainingJob) -> Iterator[TrainingSet]:
    """Yield the training draws that differ, in the order of their seeds; a natural training set is one for all."""
    seen: set[str] = set()
    for seed in dict.fromkeys(request.draws):
        training = request.of_draw(seed).data.training_set(job.dataset)
        if training.fingerprint not in seen:
            seen.add(training.fingerprint)
            yield training
