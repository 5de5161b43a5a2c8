"""A drawn training set and its test pool as a small local dataset, and reading back what was drawn.

The folder has the Hub's layout (two parquet files). Beside them, `drawn_training_set.json` says how the training
set was drawn: its images alone would be misread as a full pool and drawn from a second time.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from shifts.errors import BadInput
from shifts.files import atomic, write_text
from shifts.imageset import BATCH, ImageSet, TableStore

if TYPE_CHECKING:
    from shifts.catalog import Dataset
    from shifts.sets import SourceImages, TrainingSet

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
    """What an exported folder says of its training set; None for any other folder.

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


def export(dataset: "Dataset", training: "TrainingSet", folder: Path, source: "SourceImages | None" = None) -> int:
    """Write the training set and the whole test pool to `folder`; returns the bytes written.

    With a natural training set goes the dataset's validation split, if it has one; with others `source`, if given, in
    its place. Encoded images, columns and features pass through unchanged, in dataset order. Raises BadInput for
    list-file data, for a folder that holds anything else, and for source images without a place to stand.
    """
    if dataset.task == "multi_label":
        raise BadInput(f"{dataset.name} is multi-label, and its training set is not drawn: there is nothing to export")
    stores = [images.store for images in (dataset.train, dataset.test)]
    if not all(isinstance(store, TableStore) for store in stores):
        raise BadInput(f"{dataset.name} is a list of files: copy those that its lists name instead of exporting")
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / SIDECAR).is_file())):
        raise BadInput(f"{folder} is not empty; give a new folder for the export")
    mean, std = dataset.normalisation
    drawn = Drawn(
        dataset=dataset.name,
        imbalance=training.imbalance,
        profile=training.profile,
        rule=training.rule,
        seed=training.seed,
        counts=tuple(training.counts.tolist()),
        indices_sha256=training.indices_sha256,
        rank_by_index=dataset.rank_by_index,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
    )
    further = []
    if training.profile == "natural":
        further = [] if dataset.validation is None else [(dataset.validation, np.arange(len(dataset.validation)))]
    elif source is not None:
        if dataset.test.split != "test":
            raise BadInput(f"source images go into the validation split, and {dataset.name} tests on that")
        drawn = replace(drawn, source_sha256=source.indices_sha256, source_seen=source.seen)
        further = [(source.pool, source.indices)]
    # First the description: cut off half-way, the folder is refused instead of being taken for a full pool.
    write_text(folder / SIDECAR, json.dumps({"format": FORMAT, **asdict(drawn)}) + "\n")
    for old in folder.glob("*.parquet"):  # of an earlier export, which may have had other splits
        old.unlink()
    written = 0
    for images, split, indices in (
        (dataset.train, "train", np.sort(training.indices)),
        (dataset.test, images_split(dataset.test), np.arange(len(dataset.test))),
        *((images, "validation", indices) for images, indices in further),
    ):
        path = folder / f"{split}-00000-of-00001.parquet"
        _write_split(images, indices, path)
        written += path.stat().st_size
    return written


def images_split(images: ImageSet) -> str:
    """The file name's split: `valid` is written as `validation`, the Hub's word for it."""
    return "validation" if images.split == "valid" else images.split


def _write_split(images: ImageSet, indices: Int[np.ndarray, " kept"], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    store = images.store
    assert isinstance(store, TableStore)
    schema, arrow = _schema(store), store.table.with_format("arrow")
    with atomic(path) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for start in range(0, len(indices), BATCH):
            batch = indices[start : start + BATCH].tolist()
            part = arrow[batch]
            names = part.column(store.column).combine_chunks().field("path").to_pylist()
            encoded = [
                {"bytes": content, "path": Path(name).name if name else None}
                for content, name in zip(images.encoded(batch), names, strict=True)
            ]
            image_column = pyarrow.array(encoded, type=schema.field(store.column).type)
            arrays = [image_column if name == store.column else part.column(name) for name in schema.names]
            writer.write_table(pyarrow.table(arrays, schema=schema))


def _schema(store: TableStore) -> Any:
    """The table's Arrow schema with features as before: the image column as an image that is decoded on reading."""
    import datasets

    features = store.table.features.copy()
    features[store.column] = datasets.Image()
    return features.arrow_schema


def _field_names() -> str:
    return ", ".join(field.name for field in fields(Drawn))
