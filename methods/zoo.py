"""The model zoo: weights in half precision, small enough to be kept beside the code, that stand in for training.

`python -m methods.zoo` packs finished checkpoints; the option `--pretrained` of the other commands uses them. Matrices
and convolutions are stored as float16, BatchNorm and biases as they are. What is unpacked is the same file everywhere,
so rows made from it carry one checkpoint hash.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods import checkpoint
from shifts.errors import BadInput, WorkFailed
from shifts.files import file_sha256

if TYPE_CHECKING:
    from methods.job import TrainingJob

FOLDER = Path("results") / "zoo"
LARGEST = 8_000_000
"""Bytes of one packed file."""

EXAMPLES = """\
  python -m methods.zoo results/checkpoints/cifar100-sade-published-bf16-s0-*.safetensors
  python -m harness.run --dataset cifar100 --recipe published-bf16 --methods sade --shift all --pretrained
"""


def pack(source: Path, zoo: Path) -> Path:
    """Write the checkpoint at `source` into the folder `zoo` in half precision; returns the new file.

    Raises BadInput where there is no finished checkpoint or the packed file is larger than `LARGEST`, WorkFailed where
    the checkpoint is damaged or a weight does not fit into float16.
    """
    description = checkpoint.describe(source)
    if description is None:
        raise BadInput(f"{source} is no finished checkpoint (the .safetensors and its .json are both needed)")
    if file_sha256(source) != description["sha256"]:
        raise WorkFailed(f"{source}: its SHA-256 is not the one in its .json")
    tensors, _ = checkpoint.load_tensors(source)
    halved = {
        name: tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
        for name, tensor in tensors.items()
    }
    for name, tensor in halved.items():
        if not tensor.isfinite().all():
            raise WorkFailed(f"{source}: {name} does not fit into half precision")
    size = sum(tensor.nbytes for tensor in halved.values())
    if size > LARGEST:
        raise BadInput(f"{source} takes {size / 1e6:.1f} MB in half precision; the zoo takes {LARGEST / 1e6:.0f} MB")
    zoo.mkdir(parents=True, exist_ok=True)
    destination = zoo / source.name
    checkpoint.save(destination, halved, description | {"packed_from": description["sha256"]})
    return destination


def has(job: "TrainingJob", zoo: Path) -> bool:
    """Whether the zoo holds the weights of a job: made by exactly its data, method, recipe and seed."""
    description = checkpoint.describe(_path(job, zoo))
    return description is not None and description["key"] == job.key


def unpack(job: "TrainingJob", zoo: Path, results: Path) -> dict[str, Any]:
    """Make the job's checkpoint from the zoo; returns its description.

    Raises WorkFailed where the packed file is not what its JSON says.
    """
    source = _path(job, zoo)
    description = checkpoint.describe(source)
    if description is None or description["key"] != job.key or file_sha256(source) != description["sha256"]:
        raise WorkFailed(f"{source}: not the weights that its .json describes; fetch both files again")
    tensors, _ = checkpoint.load_tensors(source)
    whole = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    return checkpoint.save(job.path(results), whole, description | {"unpacked_from": description["sha256"]})


def listed(zoo: Path) -> list[str]:
    """What the zoo holds, a line each: dataset, method, recipe, seed."""
    found = []
    for file in sorted(zoo.glob("[!.]*.json")):
        about = json.loads(file.read_text(encoding="utf-8"))
        found.append(f"{about['dataset']} {about['method']} {about['recipe']} seed {about['seed']}")
    return found


def check(jobs: Sequence["TrainingJob"], zoo: Path, results: Path) -> None:
    """Raise BadInput, naming what there is, if a job has neither weights in the zoo nor a checkpoint in `results`."""
    for job in jobs:
        if not has(job, zoo) and checkpoint.describe(job.path(results)) is None:
            wanted = f"{job.dataset.name} {job.method_name} {job.recipe.name} seed {job.seed}"
            there = "; ".join(listed(zoo)) or "nothing"
            raise BadInput(f"--pretrained: {zoo} has no weights of {wanted} on this training set; it has: {there}")


def _path(job: "TrainingJob", zoo: Path) -> Path:
    return zoo / f"{job.stem}.safetensors"


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack the named checkpoints."""
    from shifts.cli import Parser

    parser = Parser("python -m methods.zoo", "Pack finished checkpoints in half precision for --pretrained.", EXAMPLES)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="FILE", help="checkpoints (.safetensors)")
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="DIR", help=f"the zoo (default: {FOLDER})")
    options = parser.parse_args(arguments)
    for source in options.checkpoints:
        print(pack(source, options.output))


if __name__ == "__main__":
    from shifts.cli import command

    sys.exit(command(main)(None))
