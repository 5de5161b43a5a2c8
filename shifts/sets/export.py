"""A drawn training set and its test pool as a small local dataset, and reading back what was drawn.

The folder has the Hub's layout (two parquet files). Beside them, `drawn_training_set.json` says how the training
set was drawn: its images alone would be misread as a full pool and drawn from a second time.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from shifts.common.errors import BadInput
from shifts.common.files import atomic, write_text
from shifts.images.drawn import FORMAT, SIDECAR, Drawn
from shifts.images.imageset import BATCH, ImageSet, TableStore

if TYPE_CHECKING:
    from shifts.images.catalog import Dataset
    from shifts.sets.source import SourceImages
    from shifts.sets.training import TrainingSet


def export(dataset: "Dataset", training: "TrainingSet", folder: Path, source: "SourceImages | None" = None) -> int:
    """Write the training set and the whole test pool to `folder`; returns the bytes written.

    With a natural training set goes the dataset's validation split, if it has one; with others `source`, if given, in
    its place. Encoded images, columns and features pass through unchanged, in dataset order. Raises BadInput for
    list-file data, for a folder that holds anything else, and for source images without a place to stand.
    """
    if dataset.task == "multi_label":
        raise BadInput(f"{dataset.name} is multi-label, and its training set is not drawn: there is nothing to export")
    if dataset.train.paths is not None:
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
    """Return the file name's split: `valid` is written as `validation`, the Hub's word for it."""
    return "validation" if images.split == "valid" else images.split


def _write_split(images: ImageSet, indices: Int[np.ndarray, " kept"], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = _schema(images)
    with atomic(path) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for start in range(0, len(indices), BATCH):
            writer.write_table(pyarrow.table(_columns(images, indices[start : start + BATCH], schema), schema=schema))


def _columns(images: ImageSet, indices: Int[np.ndarray, " batch"], schema: Any) -> list[Any]:
    """Return the columns of some images: those of their table, else the images and their labels."""
    import pyarrow

    store, chosen = images.store, indices.tolist()
    names = [Path(store.where(index)).name for index in chosen]
    encoded = [
        {"bytes": content, "path": name.encode("utf-8", "backslashreplace").decode() or None}
        for content, name in zip(images.encoded(chosen), names, strict=True)
    ]
    if not isinstance(store, TableStore):
        image_column = pyarrow.array(encoded, type=schema.field("image").type)
        return [image_column, pyarrow.array(images.labels[indices], type=schema.field("label").type)]
    image_column = pyarrow.array(encoded, type=schema.field(store.column).type)
    part = store.table.with_format("arrow")[chosen]
    return [image_column if name == store.column else part.column(name) for name in schema.names]


def _schema(images: ImageSet) -> Any:
    """Return the table's Arrow schema: features as before, the image column as an image that is decoded on reading."""
    import datasets

    if not isinstance(images.store, TableStore):
        label = datasets.ClassLabel(names=list(images.class_names))
        return datasets.Features({"image": datasets.Image(), "label": label}).arrow_schema
    features = images.store.table.features.copy()
    features[images.store.column] = datasets.Image()
    return features.arrow_schema
