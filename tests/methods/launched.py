"""What several processes train, and one alone: `torchrun --nproc-per-node 2 -m tests.methods.launched FOLDER PART`.

Every process has a results folder of its own, FOLDER/rank, as on machines that share no disk. The main one's holds
`case.safetensors`, the weights (and losses, in the header) of each case, and `case.resume.safetensors`.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from methods import papers
from methods.core.batch import NetworkSpec
from methods.core.method import Method
from methods.core.recipe import Recipe
from methods.core.stage import Stage
from methods.papers.softmax import Softmax
from methods.processes import distributed
from methods.training.checkpoint import save_tensors
from methods.training.loop import train
from shifts.common.errors import WorkFailed
from shifts.common.files import digest
from tests.methods import tiny
from tests.methods.pixels.test_streaming import image_set, streamed_images

BASE = Recipe("tiny", backbone="resnet8", epochs=2, batch_size=16, lr=0.02, warmup=1, milestones=(90, 95), strong=False)
"""Three batches an epoch, the last of 13 images; never re-weighted."""
SLOW = replace(BASE, lr=0.002)
"""For PRL, which without BatchNorm diverges at the rate of the others."""


class Odd(Softmax):
    """softmax in two stages that train the same, with a parameter that the loss leaves out."""

    def network(self, spec: NetworkSpec) -> nn.Module:
        network = super().network(spec)
        network.left_out = nn.Parameter(torch.ones(2))
        return network

    def stages(self, recipe: Recipe) -> list[Stage]:
        (stage,) = super().stages(recipe)
        return [stage, replace(stage, name="again")]


@dataclass(frozen=True)
class Case:
    """One training run; `stop` ends it after that many epochs of stage 1; `sets`: on label sets; `side`: pixels."""

    method: str | Method
    recipe: Recipe = BASE
    accumulate: int = 1
    stop: int = 0
    streamed: bool = False
    norm: bool = False
    sets: bool = False
    side: int = 8


EQUAL = {
    **{
        name: Case(name)
        for name in (
            "softmax",
            "balanced_softmax",
            "logit_adjusted",
            "ldam_drw",
            "sade",
            "balpoe",
            "shike",
            "ride",
            "ride_distilled",
        )
    },
    "prl, released": Case("prl:variant=released", SLOW),
    "odd": Case(Odd()),
    "ltml": Case("ltml", sets=True),
    "distribution_balanced": Case("distribution_balanced", sets=True),
    "one image left": Case("softmax", replace(BASE, batch_size=22)),
    "three images left": Case("softmax", replace(BASE, batch_size=21)),
    "streamed": Case("balpoe", replace(BASE, crop="resized", size=8), streamed=True),
    "streamed, three images left": Case("balpoe", replace(BASE, batch_size=9, crop="resized", size=8), streamed=True),
}
"""Losses that are means over samples: the same weights in any number of processes, and however accumulated."""
OTHER = {
    "ldam_drw, re-weighted": Case("ldam_drw", replace(BASE, milestones=(1, 2))),
    "ride, re-weighted": Case("ride", replace(BASE, milestones=(1, 2))),
    "prl": Case("prl", SLOW),
    "prl, preference_weighted": Case("prl:variant=preference_weighted", SLOW),
}
"""Losses that are not, which each process computes on its own rows."""
ACCUMULATED = ("balpoe", "ride", "prl, released", "odd", "ltml", "one image left", "three images left")
NORM = {
    "ride with BatchNorm": Case("ride", replace(BASE, epochs=1), norm=True),
    "maps of one pixel": Case("ride", replace(BASE, epochs=1, batch_size=21), norm=True, side=4),
    "maps of one pixel in pieces": Case("ride", replace(BASE, epochs=1), accumulate=16, norm=True, side=4),
}
"""The last stage of ride is frozen, and uses the running statistics of the main process in all."""
QUICK = {
    "sade",
    "ride",
    "prl, released",
    "odd",
    "ltml",
    "streamed, three images left",
    "three images left, accumulated",
}
QUICK |= {"ldam_drw, re-weighted", "maps of one pixel in pieces"}
"""What differs in how it is split: heads, stages, label sets, streams, batches that leave little."""


def cases(quick: bool) -> dict[str, Case]:
    """What is trained in several processes: the quick part or the rest."""
    accumulated = {f"{name}, accumulated": replace(EQUAL[name], accumulate=3) for name in ACCUMULATED}
    every = {**EQUAL, **OTHER, **NORM, **accumulated}
    return {name: case for name, case in every.items() if (name in QUICK) == quick}


def without_norm(module: nn.Module) -> nn.Module:
    """The network with its BatchNorm taken out."""
    for name, child in module.named_children():
        setattr(module, name, nn.Identity() if isinstance(child, nn.BatchNorm2d) else without_norm(child))
    return module


def run(case: Case, resume: Path) -> tuple[dict[str, Tensor], list[float]]:
    """Train; weights of the training network's kept part, and losses."""
    method = papers.get(case.method) if isinstance(case.method, str) else case.method
    if not case.norm:
        method = replace(method)
        build = method.training_network
        object.__setattr__(method, "training_network", lambda spec: without_norm(build(spec)))
    trained = train(
        method,
        case.recipe,
        streamed_images() if case.streamed else tiny.label_sets() if case.sets else tiny.images(side=case.side),
        1,
        resume=resume,
        key="key",
        accumulate=case.accumulate,
        progress=tiny.crash_after("experts", case.stop),
    )
    return trained.network.state_dict(), trained.losses


def main(folder: Path, part: str) -> None:
    """Train a part of the cases in these processes; `quick`: also what is stopped, gone on with and broken."""
    with distributed.processes(torch.device("cpu")):
        rank = distributed.world().rank
        own = folder / str(rank)
        own.mkdir(exist_ok=True)
        quick = part == "quick"
        for name, case in (cases(quick) | ({"from one": Case("balpoe")} if quick else {})).items():
            weights, losses = run(case, own / f"{name}.resume.safetensors")
            digests = distributed.gathered_objects(digest({key: value.tolist() for key, value in weights.items()}))
            assert len(set(digests)) == 1, f"{name}: processes ended with different weights"
            if rank == 0:
                save_tensors(own / f"{name}.safetensors", weights, {"losses": losses})
        if quick:
            stop_and_break(own)


def stop_and_break(own: Path) -> None:
    """Stop all processes after an epoch; then train on an image that cannot be read."""
    try:
        run(Case("balpoe", stop=1), own / "to one.resume.safetensors")
    except KeyboardInterrupt:
        (own / "stopped").touch()
    try:
        broken = streamed_images(image_set(image5=b"no image"))
        train(Softmax(), EQUAL["streamed"].recipe, broken, 1, resume=own / "broken", key="")
    except WorkFailed as error:
        (own / "failed").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
    distributed.end(0)
