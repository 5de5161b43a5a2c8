"""Models of one method over training draws and train seeds: made where missing, asked once, their answers kept."""

import argparse
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import Timeout
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from harness.evidence import tensors
from harness.passes import gather as passes
from harness.passes.pools import Pools
from harness.session.subject import data_fields, recipe_sha256
from harness.studies.why import answers
from methods.jobs import arguments
from methods.jobs.arguments import check_graphs, check_writable, chosen_device, chosen_jobs, epochs_shown, tell_data
from methods.jobs.forecast import training_left, weights_to_come
from methods.jobs.job import TrainingJob
from methods.networks.folding import fold_batchnorm
from methods.training import checkpoint
from methods.training.loop import TRAIN_VERSION
from shifts.common.errors import WorkFailed
from shifts.labels.draw import indices_sha256
from shifts.labels.shift import Shift
from shifts.sets.arguments import chosen_training_set
from shifts.sets.resolve import resolve
from shifts.sets.training import TrainingSet


class Replicates:
    """Everything one command line asks for. Building it reads data and raises BadInput; nothing is written."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.results: Path = options.results
        self.device = chosen_device(options.device)
        check_graphs(options, self.device)
        self.pools = Pools(self.device)
        draws: list[TrainingSet] = []
        self.jobs: list[TrainingJob] = []
        # All draws of one seed before the next seed: a run that is stopped early has whole sets of draws.
        for job in chosen_jobs(_with_draw(options, options.train_subset_seed[0])):
            draws = draws or list(_draws(options, job))
            self.jobs += [replace(job, training=training) for training in draws]
        if options.pretrained is not None:
            arguments.check_packed(self.jobs, options.pretrained, self.results)
        first = self.jobs[0]
        self.indices, _ = resolve(first.dataset, Shift("uniform"), first.training.counts)
        self.notes = [] if len(draws) > 2 else [f"training draws: {len(draws)}; an interval needs three or more"]

    def path(self, job: TrainingJob) -> Path:
        """Where the answers of a job's checkpoint are or will be."""
        return answers.folder(self.results) / f"{job.stem}.safetensors"

    def key(self, job: TrainingJob, sha256: str) -> str:
        """Key of the answers of a checkpoint."""
        return answers.key(sha256, job.dataset.test.fingerprint, indices_sha256(self.indices))

    def answered(self, job: TrainingJob) -> bool:
        """Whether the answers of the checkpoint that there is are stored; good also without the checkpoint."""
        found = answers.stored(self.path(job))
        if found is None:
            return False
        described = checkpoint.describe(job.path(self.results))
        wanted = self.key(job, found.checkpoint_sha256 if described is None else described["sha256"])
        return (found.key, found.recipe_sha256) == (wanted, recipe_sha256(job))

    def trained(self, job: TrainingJob) -> bool:
        """Whether a job's checkpoint is there."""
        return checkpoint.describe(job.path(self.results)) is not None

    def forecast(self) -> str:
        """The plan as text: what would be trained, what only asked, what is done; estimated cost."""
        lines, total = [f"note: {note}" for note in self.notes], 0.0
        for method in dict.fromkeys(job.method_name for job in self.jobs):
            jobs = [job for job in self.jobs if job.method_name == method]
            left = [job for job in jobs if not self.answered(job)]
            bare = [job for job in left if not self.trained(job)]
            cost = sum(weights_to_come(job, self.results)[1] for job in bare)
            total += cost
            text = f"{method}: {len(jobs) - len(left)} of {len(jobs)} models answered"
            if bare:  # all of a command's jobs have the same zoo, or none
                text += f"; {len(bare)} "
                text += (
                    f"to train, {cost / 1e12:.1f} TFLOP" if bare[0].zoo is None else f"with weights from {bare[0].zoo}"
                )
            lines.append(text)
        return "\n".join([*lines, training_left(total)])

    def work(self) -> None:
        """Train and ask what is missing; models that another process works on come last.

        Raises WorkFailed at the end, naming every model that failed.
        """
        check_writable(self.results)
        tell_data(self.jobs)
        failures: list[str] = []
        busy: list[TrainingJob] = []
        left = [job for job in self.jobs if not self.answered(job)]
        with tqdm(total=len(left), unit="model", delay=2, leave=False, disable=None) as bar:
            for wait in (False, True):
                for job in left if not wait else busy:
                    bar.set_description_str(_title(job))
                    try:
                        self._finish(job, wait)
                    except Timeout:
                        busy.append(job)
                        continue
                    except WorkFailed as error:
                        failures.append(f"{_title(job)}: {error}")
                    bar.update()
        if failures:
            raise WorkFailed(f"{'; '.join(failures)} (finished answers are kept under {answers.folder(self.results)})")

    def _finish(self, job: TrainingJob, wait: bool) -> None:
        """Train and ask one model. Raises Timeout if another process has it and not `wait`."""
        with job.lock(self.results).acquire(timeout=-1 if wait else 0):
            if self.answered(job):
                return
            with nullcontext() if self.trained(job) else epochs_shown(f"  {_title(job)}") as progress:
                described = job.make(self.results, self.device, progress or _silent)
            sha256 = described["sha256"]
            logits = self._stored_logits(job, sha256)
            if logits is None:
                pool = self.pools.of(job, job.dataset.test, self.indices)
                network = fold_batchnorm(job.network(self.results, self.device), job.spec.image_size)
                logits = passes.collected(passes.forward(network, pool.clean(), "fp32"), logits=passes.read_logits)[
                    "logits"
                ]
            about = data_fields(job.dataset, job.training) | {
                "method": job.method_name,
                "method_version": job.method.version,
                "recipe": job.recipe.name,
                "recipe_sha256": recipe_sha256(job),
                "train_seed": job.seed,
                "train_version": TRAIN_VERSION,
                "checkpoint_sha256": sha256,
                "indices_sha256": indices_sha256(self.indices),
            }
            made = answers.answer(logits, job.dataset.test.labels[self.indices], about)
            answers.save(self.path(job), made)

    def _stored_logits(self, job: TrainingJob, sha256: str) -> Float[np.ndarray, "images experts classes"] | None:
        """Clean logits from float32 evidence of this checkpoint, with any number of views; None where there is none."""
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


def _draws(options: argparse.Namespace, job: TrainingJob) -> Iterator[TrainingSet]:
    """The training draws that differ, in the order of their seeds (a natural training set is one whatever the seed)."""
    seen: set[str] = set()
    for seed in dict.fromkeys(options.train_subset_seed):
        training = chosen_training_set(_with_draw(options, seed), job.dataset)
        if training.fingerprint not in seen:
            seen.add(training.fingerprint)
            yield training


def _with_draw(options: argparse.Namespace, seed: int) -> argparse.Namespace:
    """The options of a command that takes one training draw."""
    return argparse.Namespace(**vars(options) | {"train_subset_seed": seed})


def _title(job: TrainingJob) -> str:
    return f"{job.method_name} draw {job.training.seed} s{job.seed}"


def _silent(stage: str, epoch: int, epochs: int, loss: float) -> None:
    """Progress of a checkpoint that is there already."""
