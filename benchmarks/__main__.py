"""`python -m benchmarks`: ceilings of the machine, then every part, side by side; a table and JSON.

Ratios within one run are what to quote: single times move with whatever else the machine does.
"""

import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import adapting, applying, board, models, parts
from benchmarks.ceilings import ceilings
from benchmarks.parts import Line, Work
from methods.core.precision import whole_float32
from methods.jobs.job import device_name
from methods.jobs.request import chosen_device
from shifts.common.command import Parser, command, whole
from shifts.common.errors import BadInput, check_name
from shifts.common.files import write_text

EXAMPLES = """\
  python -m benchmarks
  python -m benchmarks --parts training evidence --rounds 5 --output cpu.json
  python -m benchmarks --naive-steps 0                     # the naive procedure in full: over half an hour on a CPU
"""


def chosen(naive_steps: int | None, rows: int, unlabelled: int) -> dict[str, Sequence[Callable[[Work], list[Line]]]]:
    """Return the parts by name, in the order in which they are run."""
    return {
        "training": (parts.training_step, parts.training_epoch),
        "evidence": (parts.clean_evidence, parts.view_pair),
        "learning": (parts.learning,),
        "adapting": (adapting.adapting,),
        "preferences": (parts.preference_sweep,),
        "naive": (lambda work: parts.naive_procedure(work, naive_steps),),
        "models": (models.two_models,),
        "commands": (parts.commands,),
        "leaderboard": (lambda work: board.rebuilding(rows),),
        "applying": (lambda work: applying.applying(unlabelled),),
    }


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks, print a table, write JSON."""
    parser = Parser("python -m benchmarks", "What each part of the work costs on this machine.", EXAMPLES)
    parser.add_argument(
        "--parts",
        nargs="+",
        metavar="PART",
        help="training, evidence, learning, adapting, preferences, naive, models, commands, leaderboard, applying",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="counted rounds of each part (default: 3)")
    parser.add_argument("--images", type=int, default=10_000, metavar="N", help="test images (default: 10,000)")
    parser.add_argument(
        "--naive-steps",
        type=int,
        default=10,
        metavar="N",
        help="batches of the naive procedure that are run and scaled up; 0 = all (default: 10)",
    )
    parser.add_argument(
        "--rows", type=whole(1), default=1_000_000, metavar="N", help="rows of the leaderboard (default: 1,000,000)"
    )
    parser.add_argument(
        "--unlabelled",
        type=whole(2),
        default=100_000,
        metavar="N",
        help="unlabelled images of harness.apply (default: 100,000)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures as JSON")
    options = parser.parse_args(arguments)
    available = chosen(options.naive_steps or None, options.rows, options.unlabelled)
    for name in options.parts or ():
        check_name("part", name, available)
    if options.rounds < 1 or options.naive_steps < 0 or options.images < 5000 or options.images % 100:
        raise BadInput("--rounds must be >= 1, --naive-steps >= 0, --images a multiple of 100 from 5000 on")
    device = chosen_device(options.device)
    whole_float32()
    work = Work(device, options.images, options.rounds)
    todo = [part for name in options.parts or available for part in available[name]]
    limits = ceilings(device, options.rounds)
    lines: list[Line] = []
    for part in tqdm(todo, unit="part", leave=False, disable=None):
        lines += part(work)
    print(table(lines, limits, device))
    if options.output:
        record = {
            "machine": machine(device),
            "images": options.images,
            "ceilings_flops": limits,
            "lines": [line.record() for line in lines],
            "ratios": ratios(lines),
        }
        write_text(options.output, json.dumps(record, indent=1) + "\n")
        print(f"written: {options.output}")


def table(lines: Sequence[Line], limits: dict[str, dict[str, float]], device: torch.device) -> str:
    """Return the figures as text.

    They are seconds of all the work, spread, throughput, rate and its share of the two ceilings.
    """
    about = machine(device)
    rows = [
        f"{about['device']}, {about['threads']} threads, torch {about['torch']}",
        "ceilings, GFLOP/s: "
        + "; ".join(
            f"{precision} " + ", ".join(f"{kind} {rate / 1e9:.0f}" for kind, rate in found.items())
            for precision, found in limits.items()
        ),
        "",
        f"{'part':<23}{'variant':<11}{'seconds':>9}{'spread':>15}{'images/s':>10}{'GFLOP/s':>9}{'conv':>6}{'matmul':>8}",
    ]
    for line in lines:
        timing, scale = line.timing, line.scaled
        spread = f"{timing.least * scale:.2f}-{timing.most * scale:.2f}"
        text = f"{line.part:<23}{line.variant:<11}{timing.median * scale:>9.2f}{spread:>15}"
        if line.images:
            text += f"{line.images / timing.median:>10.0f}"
        if line.flops:
            rate = line.flops / timing.median
            shares = [rate / limits[line.precision][kind] for kind in ("convolution", "matrix product")]
            text += f"{rate / 1e9:>9.0f}{shares[0]:>6.0%}{shares[1]:>8.0%}"
        rows.append(text + ("  *" if scale != 1 else ""))
    if any(line.scaled != 1 for line in lines):
        rows.append("* a share of the work was run and scaled up to all of it")
    found = ratios(lines)
    return "\n".join([*rows, "", *(f"{name}: {value:.2f}x" for name, value in found.items())])


def ratios(lines: Sequence[Line]) -> dict[str, float]:
    """Return how many times faster than the reference each variant of each part is.

    For aggregation that is of everything it needs together.
    For a training step also its rate over that of its convolutions alone.
    """
    seconds = {(line.part, line.variant): line.timing.median * line.scaled for line in lines}
    found = {
        f"{part}, {variant}": seconds[part, "reference"] / spent
        for (part, variant), spent in seconds.items()
        if variant != "reference" and (part, "reference") in seconds
    }
    for (part, precision), spent in seconds.items():
        if part == "of that, convolutions":
            found[f"step over its convolutions, {precision}"] = spent / seconds[parts.STEP, precision]
    for variant in ("reference", "workers"):
        if ("two models", variant) in seconds:
            found[f"two models beside a busy process over idle, {variant}"] = (
                seconds["two models, busy", variant] / seconds["two models", variant]
            )
    found |= adapting.growth(seconds)
    naive = [spent for (part, _), spent in seconds.items() if part.startswith("naive")]
    if naive and ("learning, 11 shifts", "fp32") in seconds:
        for precision in ("fp32", "bf16"):
            for pairs in (1, parts.PAIRS):
                if ("one view pair", precision) in seconds:
                    ours = seconds["clean evidence", precision] + pairs * seconds["one view pair", precision]
                    ours += seconds["learning, 11 shifts", "fp32"]
                    found[f"aggregation over 11 shifts, {pairs} view pairs, {precision}"] = sum(naive) / ours
    return found


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main(None))
