"""`python -m methods.zoo`: pack weights, small enough to be shared."""

import sys
from collections.abc import Sequence
from pathlib import Path

from methods.jobs.packed import FOLDER, pack

EXAMPLES = """\
  python -m methods.zoo results/checkpoints/cifar100-sade-published-bf16-s0-*.safetensors
  python -m harness.run --dataset cifar100 --recipe published-bf16 --methods sade --shift all --pretrained
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack the named checkpoints."""
    from shifts.common.command import Parser

    parser = Parser("python -m methods.zoo", "Pack finished checkpoints in half precision for --pretrained.", EXAMPLES)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="FILE", help="checkpoints (.safetensors)")
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="DIR", help=f"the zoo (default: {FOLDER})")
    options = parser.parse_args(arguments)
    for source in options.checkpoints:
        print(pack(source, options.output))


if __name__ == "__main__":
    from shifts.common.command import command

    sys.exit(command(main)(None))
