"""`python -m harness.apply`: adapted answers for unlabelled images, and whether to trust them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shifts.common.command import Parser, add_list_argument, command, whole
from shifts.common.requests import request_of

if TYPE_CHECKING:
    from harness.applying.applied import Applied

EXAMPLES = """\
  python -m harness.apply tonight.safetensors --output predictions.parquet
  python -m harness.apply model.safetensors --images tonight.safetensors --output tonight.csv
  python -m harness.apply tonight.safetensors --adapters em_bcts
  python -m harness.apply tonight.safetensors --order stream --batch 64 --output stream.jsonl
"""


def apply(
    model: str | Path,
    *,
    images: str | Path | None = None,
    adapter: str | None = None,
    order: Literal["whole", "stream"] = "whole",
    batch: int | None = None,
    seed: int = 0,
) -> "Applied":
    """Answer for unlabelled images with an adapter, and say whether to trust it.

    model: an evidence file (`harness.collect`, `save_evidence`); images: another one of the same model, with the images
    to answer for, where `model` holds only what is known of it. adapter: by name; otherwise what the reference rows
    recommend for what the file has. order: `stream` reads `batch` images at a time in the order of the file, and
    answers each batch with what was known by then; None: 64. seed: of whatever the adapter draws.

    Labels that a file may hold are not looked at. Returns `Applied`: `classes`, `probabilities`, `plain`, `prior`,
    `low`, `high`, `verdict`, and `write(path)`. Raises BadInput, in one line, for what does not fit.
    """
    from harness.applying.command import ApplyRequest

    made = ApplyRequest(
        model=Path(model),
        images=None if images is None else Path(images),
        adapters=() if adapter is None else (adapter,),
        order=order,
        batch=batch,
        seed=seed,
    )
    return made.applied()


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(arguments)
    from harness.applying.command import ApplyRequest

    print(request_of(ApplyRequest, options).work())
    return 0


def parser() -> Parser:
    """Make the command's arguments."""
    made = Parser("python -m harness.apply", "Adapted answers for unlabelled images.", EXAMPLES)
    made.add_argument("model", type=Path, metavar="FILE", help="an evidence file: of the model and of the images")
    made.add_argument(
        "--images", type=Path, metavar="FILE", help="an evidence file of the same model, whose images to answer for"
    )
    made.add_argument(
        "--adapters",
        nargs=1,
        metavar="NAME",
        help="the adapter, with options as in eb_em:rule=best (default: what the reference rows recommend for what the "
        "file has)",
    )
    made.add_argument(
        "--order",
        choices=("whole", "stream"),
        default="whole",
        help="whole: all images at once; stream: batch by batch, in the order of the file (default: whole)",
    )
    made.add_argument("--batch", type=whole(1), metavar="N", help="images a batch of a stream (default: 64)")
    made.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of what the adapter draws (default: 0)")
    made.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the answers, one line an image: .parquet, .csv or .jsonl; the class shares go beside it as JSON",
    )
    made.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add_list_argument(made, _listing, "adapters that can answer for unlabelled images")
    return made


def _listing() -> str:
    from harness import adapters

    told = ("oracle_prior", "best_expert", "stream_oracle", "stream_hindsight")
    return "\n".join(f"{name:<16} {about}" for name, about in adapters.names() if name not in told)


if __name__ == "__main__":
    sys.exit(main(None))
