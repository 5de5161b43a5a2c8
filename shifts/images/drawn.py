"""How the training set in an exported folder was drawn: the file beside its images that says so."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from shifts.common.errors import BadInput

SIDECAR = "drawn_training_set.json"
FORMAT = 1


@dataclass(frozen=True)
class Drawn:
    """How the training set in an exported folder was drawn from its full pool; `indices_sha256` is the pool's.

    `source_sha256`: of the full pool's indices of the labelled source images, where the folder's validation split is
    those; `source_seen` of them were trained on.
    """

    dataset: str
    imbalance: float | None
    profile: str
    rule: str
    seed: int
    counts: tuple[int, ...]
    indices_sha256: str
    rank_by_index: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source_sha256: str | None = None
    source_seen: int = 0


def read_drawn(folder: Path, counts: Int[np.ndarray, " classes"]) -> Drawn | None:
    """Read what an exported folder says of its training set; None for any other folder.

    Raises BadInput where the file cannot be read or does not fit the images (`counts`: those of the folder).
    """
    path = folder / SIDECAR
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("format")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in content.items()
        }
        drawn = Drawn(**values)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise BadInput(f"{path} cannot be read; its fields are {_field_names()}") from error
    if version != FORMAT:
        raise BadInput(f"{path} has format {version}; this version reads format {FORMAT}")
    if list(drawn.counts) != counts.tolist():
        raise BadInput(f"{path} does not fit the training images beside it: their class counts differ")
    return drawn


def _field_names() -> str:
    return ", ".join(field.name for field in fields(Drawn))
