"""Rebuilding the leaderboard from very many packed rows: the reference's rows again and again, under other names."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.parts import Line
from benchmarks.timing import whole_command
from harness.records import parquet, rows

REFERENCE = Path(__file__).parents[1] / "results" / "reference"
DATASET, SEEDS = "embedded", 3
"""What is taken of the reference, and how many train seeds its settings have."""


def rebuilding(count: int) -> list[Line]:
    """Time the command that rebuilds a leaderboard, of about `count` rows, once; the line has its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        made = many_rows(Path(folder), count)
        timing, peak = whole_command("harness.leaderboard", "--results", folder)
    return [Line(f"{made:,} rows", f"{peak:.1f} GB", timing, 0, 0.0, "fp32")]


def many_rows(folder: Path, count: int) -> int:
    """Write about `count` packed rows of many datasets, six train seeds a setting. Returns how many."""
    (one,) = rows.pack([row for row in rows.load_all(REFERENCE) if row.dataset == DATASET], folder)
    table = parquet.read(one)
    one.unlink()
    copies = max(1, round(count / table.num_rows / 2))
    rng = np.random.default_rng(0)
    for number in range(copies):
        name = f"{DATASET}-{number:03}"
        halves = [_renamed(table, name, half * SEEDS, rng) for half in range(2)]
        parquet.write(folder / f"rows-{name}.parquet", pa.concat_tables(halves))
    return 2 * copies * table.num_rows


def _renamed(table: pa.Table, dataset: str, later: int, rng: np.random.Generator) -> pa.Table:
    """Return the rows under another dataset's name and of other train seeds, each with a row id of its own."""
    ids = [rng.bytes(32).hex() for _ in range(table.num_rows)]
    seeds = [None if seed is None else seed + later for seed in table.column("train_seed").to_pylist()]
    changed = {"dataset": [dataset] * table.num_rows, "row_id": ids, "train_seed": seeds}
    for name, values in changed.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    return table
