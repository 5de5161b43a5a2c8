"""What training is asked for: data, methods, seeds and how, as a value; and the jobs that it means."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shifts.common.errors import BadInput
from shifts.sets.request import DataRequest

if TYPE_CHECKING:
    import torch

    from methods.jobs.job import TrainingJob
    from methods.processes.workers import Work


@dataclass(frozen=True)
class TrainingRequest:
    """Which models are trained, how, and where results go; the options of the same names say what each field is."""

    data: DataRequest = DataRequest()
    methods: tuple[str, ...] = ()
    recipe: str = "quick"
    size: int | None = None
    seeds: tuple[int, ...] = (0,)
    accumulate: int = 1
    sync_bn: bool = False
    pretrained: Path | None = None
    cuda_graphs: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    results: Path = Path("results")
    workers: int | Literal["auto"] = "auto"
    engine: Literal["local", "dask"] = "local"
    scheduler: str | None = None

    def check_graphs(self, device: "torch.device") -> None:
        """Raise BadInput where CUDA graphs are asked for and cannot be made."""
        from methods.processes import distributed

        if self.cuda_graphs and (device.type != "cuda" or distributed.world().size > 1):
            raise BadInput("--cuda-graphs: needs a CUDA device and a single process")
        if self.cuda_graphs and self.accumulate > 1:
            # each piece sets the generator back, which a graph cannot
            raise BadInput("--cuda-graphs: needs whole batches (--accumulate 1)")

    def work_off(self, titles: "Sequence[str]", work: "Work", workers: int) -> str:
        """Make the models of these titles by `work`, which other processes can be sent; returns which failed and why.

        Here in so many processes, or on the cluster that is asked for. Raises BadInput.
        """
        from methods.processes import workers as pools

        if self.engine == "local":
            with pools.side_by_side(workers) as pool:
                return pools.work_off(titles, work, pool, workers)
        from methods.processes.cluster import cluster, there

        if self.scheduler is None:
            raise BadInput("--engine dask needs --scheduler ADDRESS, such as tcp://host:8786")
        with cluster(self.scheduler) as (pool, slots, lost):
            return pools.work_off(titles, there(work), pool, slots, lost)

    def chosen_workers(self, models: int, threads: int, device: str) -> int:
        """Return how many processes share so many models, each with so many threads. Raises BadInput."""
        from methods.processes import distributed, workers

        if self.scheduler is not None and self.engine != "dask":
            raise BadInput("--scheduler goes with --engine dask")
        if self.engine == "dask":
            return models
        if self.workers == "auto":
            return workers.automatic(models, threads, device) if models > 1 else 1
        if self.workers > 1 and distributed.launched():
            raise BadInput("--workers trains models apart, torchrun trains one across processes; choose one of them")
        return self.workers

    def jobs(self, decode: bool = True) -> "list[TrainingJob]":
        """Return one training job for each method and seed, methods outermost. Raises BadInput.

        decode: look at every image of the data, where that was not done before.
        """
        from methods import networks, papers
        from methods.core import recipes
        from methods.core.batches import LEAST
        from methods.jobs.job import TrainingJob
        from methods.jobs.sizes import check_sizes, sizes_of_splits
        from methods.processes import distributed
        from shifts.checks.checkup import checked

        # Names are checked before any data is read.
        for name in self.methods:
            if name != "all":
                papers.get(name)
        recipe = recipes.get(self.recipe, self.data.dataset)
        recipe = recipe if self.size is None else recipe.sized(self.size)
        networks.check(recipe.backbone)
        recipe.weights()
        dataset = checked(self.data.load(), decode=decode)
        chosen = papers.asked_for(self.methods, dataset.entry.task)
        for method in chosen:
            papers.check_task(method, dataset.entry.task, dataset.name)
        check_sizes(recipe, sizes_of_splits(dataset))
        training = self.data.training_set(dataset)
        if training.n < LEAST:
            raise BadInput(f"{dataset.name} has one training image; at least two are needed")
        how = self.accumulate, self.sync_bn, self.pretrained, self.cuda_graphs
        jobs = [
            TrainingJob(dataset, training, method, recipe, train_seed, *how)
            for method in chosen
            for train_seed in dict.fromkeys(self.seeds)
        ]
        if recipe.name.startswith("published") and distributed.world().main:
            for name in dict.fromkeys(job.method_name for job in jobs):
                if advised := recipes.PUBLISHED_OPTIONS.get((name, dataset.name)):
                    print(f"note: on {dataset.name} {name} was published as {advised}", file=sys.stderr)
        if self.pretrained is not None:
            check_packed(jobs, self.pretrained, self.results)
        return jobs

    def words(self, job: "TrainingJob") -> list[str]:
        """Return the command-line words of `methods.train` for one job of this request."""
        given = {
            **{field.name: getattr(self.data, field.name) for field in fields(self.data)},
            "recipe": self.recipe,
            "size": self.size,
            "device": self.device,
            "results": self.results,
            "methods": job.method_name,
            "seeds": job.seed,
            "accumulate": None if job.accumulate == 1 else job.accumulate,
            "pretrained": job.zoo,
        }
        texts = [(name, str(value)) for name, value in given.items() if value is not None]
        flags = {"--sync-bn": job.sync_bn, "--cuda-graphs": job.graphs}
        words = [word for name, text in texts for word in ("--" + name.replace("_", "-"), text)]
        return [*words, *(flag for flag, on in flags.items() if on)]


def chosen_device(name: str) -> "torch.device":
    """Return the device; `auto` is a CUDA device if there is one. Raises BadInput for `cuda` without one."""
    import torch

    from methods.core.versions import tell_untested

    tell_untested(torch.__version__)
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: no CUDA device is available here; allowed: auto, cpu")
    return torch.device("cpu" if name == "cpu" or not torch.cuda.is_available() else "cuda")


def module_words(module: str) -> list[str]:
    """Return what follows `python` to run a module of ours from this folder, whatever packages the folder holds.

    Python looks in the working folder first; where that is not ours, `-P` keeps it from doing so.
    """
    ours = Path(__file__).resolve().parents[2]
    return [*([] if Path.cwd() == ours else ["-P"]), "-m", module]


def check_packed(jobs: "Sequence[TrainingJob]", zoo: Path, results: Path) -> None:
    """Raise BadInput, naming what there is, if a job has neither weights in the zoo nor a checkpoint in `results`."""
    from methods.jobs.packed import has, listed
    from methods.training import checkpoint

    for job in jobs:
        if not has(job.stem, job.key, zoo) and checkpoint.describe(job.path(results)) is None:
            wanted = f"{job.dataset.name} {job.method_name} {job.recipe.name} seed {job.seed}"
            there = "; ".join(listed(zoo)) or "nothing"
            raise BadInput(f"--pretrained: {zoo} has no weights of {wanted} on this training set; it has: {there}")
