"""What training would do, as text: which checkpoints are there, how far the others are, what is left to compute."""

from collections.abc import Sequence
from pathlib import Path

from methods.jobs.job import TrainingJob
from methods.training import checkpoint
from methods.training.loop import epochs_done

CPU_RATE = 1.2e11
"""Floating-point operations a second of two CPU cores while training, for estimates of minutes."""


def forecast(jobs: Sequence[TrainingJob], results: Path) -> str:
    """Return a line for each job, then what is left of all of them."""
    lines, total = [], 0.0
    for job in jobs:
        path = job.path(results)
        if checkpoint.describe(path) is not None:
            lines.append(f"{job.stem}: done")
        elif job.zoo is not None:
            lines.append(f"{job.stem}: weights from {job.zoo}")
        else:
            epochs = sum(stage.epochs for stage in job.method.stages(job.recipe))
            done = epochs_done(job.method.stages(job.recipe), path.with_suffix(".partial.safetensors"), job.key)
            # Stages cost differently; for the unfinished one they count alike.
            left = job.cost() * (1 - done / epochs)
            total += left
            lines.append(f"{job.stem}: to train, {done} of {epochs} epochs done, {left / 1e12:.1f} TFLOP left")
    return "\n".join([*lines, training_left(total)])


def weights_to_come(job: TrainingJob, results: Path) -> tuple[str, float]:
    """Say where a job's missing weights come from ("" where none are missing). Also return the operations it takes.

    With a zoo, `methods.jobs.arguments.check_packed` has seen to it that what has no checkpoint lies there.
    """
    if checkpoint.describe(job.path(results)) is not None:
        return "", 0.0
    if job.zoo is not None:
        return f"weights from {job.zoo}", 0.0
    epochs, cost = sum(stage.epochs for stage in job.method.stages(job.recipe)), job.cost()
    return f"to train, {epochs} epochs, {cost / 1e12:.1f} TFLOP", cost


def training_left(operations: float) -> str:
    """Say how long so many floating-point operations take on two CPU cores."""
    return (
        f"training left: {operations / 1e12:.1f} TFLOP, about {operations / CPU_RATE / 60:.1f} min at "
        f"{CPU_RATE / 1e9:.0f} GFLOP/s (two CPU cores)"
    )
