"""Local tables of images: Parquet, Arrow, CSV and JSON lines, by split, as `datasets.Dataset`s.

A file is of the split that its name or its folder says (`train-00000-of-00002.parquet`, `train/part.parquet`,
`train.csv`); the splits of a folder that declares configurations in its README (YAML, as on the Hub) are those. Each
file is read with its own names of classes. Parquet is copied once to Arrow files in the cache of `datasets`, by path,
size and times of change, and mapped from there.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shifts.common.errors import BadInput
from shifts.common.files import atomic, digest
from shifts.common.notes import Note
from shifts.images.reading.found import HIDDEN, IMAGE_NAMES, LeftOut
from shifts.images.reading.paths import Parts, files_under, is_hidden, shown
from shifts.images.reading.splits import is_plain, split_of
from shifts.images.reading.text_tables import SUFFIXES as TEXT_SUFFIXES
from shifts.images.reading.text_tables import read_text_table

COLUMNAR = (".parquet", ".arrow")
_SHARD = re.compile(r"(?P<name>.+?)-(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]{8,})?")
_NUMBERED = re.compile(r"(?P<name>.+?)[-_.](?P<number>\d+)")


def read_tables(
    folder: Path, declared: Mapping[str, Sequence[str]] | None = None, image_column: str | None = None
) -> tuple[dict[str, Any], dict[str, str], list[Note]]:
    """Return the tables of a folder by split (`datasets.Dataset`), where each came from, and what is left out.

    No tables where the folder holds none. declared: patterns of the files of each split, from the folder's README;
    image_column: where paths of image files may stand. Raises BadInput for files that contradict one another, cannot
    be read, or whose parts are not all there.
    """
    left = LeftOut()
    seen = []
    for parts in files_under(folder):
        if is_hidden(parts):
            left.add(HIDDEN, parts)
        else:
            seen.append(parts)
    files = _declared(folder, seen, declared) if declared else _by_place(folder, seen)
    taken = {parts for paths in files.values() for parts in paths}
    for parts in seen:
        if parts not in taken and parts[-1].lower().endswith((*COLUMNAR, ".csv", ".tsv", ".jsonl")):
            left.add("tables that are no split's", parts)
    tables, origins = {}, {}
    for split, paths in files.items():
        _check_shards(folder, split, paths)
        file_tables = [_file_table(folder.joinpath(*parts), folder, image_column) for parts in paths]
        tables[split] = _joined(folder, split, file_tables)
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        origins[split] = f"{shown(paths[0])}{more}"
    return tables, origins, left.notes()


def _declared(folder: Path, seen: Sequence[Parts], declared: Mapping[str, Sequence[str]]) -> dict[str, list[Parts]]:
    """Return files by split as the README's patterns say; `*` stands for any part of a name, `**` for folders too."""
    files = {}
    for split, patterns in declared.items():
        matching = [parts for parts in seen if any(_matches("/".join(parts), pattern) for pattern in patterns)]
        if not matching:
            raise BadInput(f"{folder}: no file is {patterns[0]}, which its README.md declares for the split {split}")
        files[split] = matching
    return files


def _matches(path: str, pattern: str) -> bool:
    pieces = re.split(r"(\*\*/?|\*|\?)", pattern.removeprefix("./"))
    meaning = {"**": ".*", "**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.fullmatch("".join(meaning.get(piece, re.escape(piece)) for piece in pieces), path) is not None


def _by_place(folder: Path, seen: Sequence[Parts]) -> dict[str, list[Parts]]:
    """Return files by split, told by their names and folders. Parquet and Arrow go before text."""
    for suffixes in (COLUMNAR, TEXT_SUFFIXES):
        by_split: dict[str, dict[tuple[Parts, str], list[Parts]]] = {}
        for parts in seen:
            if not parts[-1].lower().endswith(suffixes):
                continue
            name = _stem(parts)
            split, group = split_of(name), (parts[:-1], name)
            if split is None and len(parts) > 1:
                split, group = split_of(parts[-2]), (parts[:-1], "")
            if split is not None:
                by_split.setdefault(split, {}).setdefault(group, []).append(parts)
        if by_split:
            return {split: _one_group(folder, split, groups) for split, groups in by_split.items()}
    return {}


def _one_group(folder: Path, split: str, groups: Mapping[tuple[Parts, str], list[Parts]]) -> list[Parts]:
    """Return a split's files; a bare `train` goes before names such as `my_train`. Raises BadInput for two."""
    plain = {group: files for group, files in groups.items() if is_plain(group[1] or group[0][-1])} or groups
    if len(plain) > 1:
        first, second = (shown(files[0]) for files in list(plain.values())[:2])
        raise BadInput(
            f"{folder}: {first} and {second} are both the {split} split; keep one of them there, or name its folder"
        )
    return next(iter(plain.values()))


def _stem(parts: Parts) -> str:
    """Return a file's name without suffix and shard number."""
    stem = Path(parts[-1]).stem
    shard = _SHARD.fullmatch(stem) or _NUMBERED.fullmatch(stem)
    return shard["name"] if shard else stem


def _check_shards(folder: Path, split: str, paths: Sequence[Parts]) -> None:
    """Raise BadInput where a split's parts are not all there."""
    shards = [_SHARD.fullmatch(Path(parts[-1]).stem) for parts in paths]
    numbers = sorted(int(shard["number"]) for shard in shards if shard)
    totals = {int(shard["total"]) for shard in shards if shard}
    if totals and (len(totals) > 1 or numbers != list(range(totals.pop()))):
        raise BadInput(f"{folder}: the {split} split's files are not all there or of two versions, {shown(paths[0])}")


# --------------------------------------------------------------------------------------------------- one file


def _file_table(path: Path, root: Path, image_column: str | None) -> Any:
    """Return one file as a `datasets.Dataset`, image paths made absolute. Raises BadInput."""
    import datasets
    import pyarrow

    try:
        if path.suffix.lower() in TEXT_SUFFIXES:
            table = datasets.Dataset.from_dict(read_text_table(path))
        elif path.suffix.lower() == ".parquet":
            table = datasets.Dataset.from_file(str(_as_arrow(path)))
        else:
            table = _arrow(path)
    except (pyarrow.ArrowException, datasets.exceptions.DatasetsError, ValueError, UnicodeDecodeError) as error:
        if isinstance(error, BadInput):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise BadInput(f"{path} cannot be read as a dataset: {reason}") from error
    return _with_absolute_paths(table, path.parent, root, image_column)


def _as_arrow(path: Path) -> Path:
    """Return the Arrow copy of a Parquet file, made where it is missing or the file has changed since."""
    import datasets
    import pyarrow
    from pyarrow import parquet

    status = path.stat()
    # The time of the last change of the file's state too: it moves where an old modification time is put back.
    state = [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    copy = Path(datasets.config.HF_DATASETS_CACHE) / "tailshift" / f"{digest(list(map(repr, state)))[:32]}.arrow"
    if copy.is_file():
        return copy
    with parquet.ParquetFile(path) as source:
        schema = _plain(source.schema_arrow)
        with atomic(copy) as temporary, pyarrow.ipc.new_stream(str(temporary), schema) as stream:
            for batch in source.iter_batches(1000, columns=schema.names):
                stream.write_batch(_cast(batch, schema))
    return copy


def _arrow(path: Path) -> Any:
    """Return an Arrow file of either form, stream or random access, as a `datasets.Dataset` mapped from disk."""
    import datasets
    import pyarrow

    source = pyarrow.memory_map(str(path))
    try:
        table = pyarrow.ipc.open_stream(source).read_all()
    except pyarrow.ArrowInvalid:
        table = pyarrow.ipc.open_file(source).read_all()
    schema = _plain(table.schema)
    batches = [_cast(batch, schema) for batch in table.select(schema.names).to_batches()]
    return datasets.Dataset(datasets.table.InMemoryTable(pyarrow.Table.from_batches(batches, schema)))


def _plain(schema: Any) -> Any:
    """Return a schema without dictionary encoding and without columns of kinds that `datasets` does not know."""
    import datasets
    import pyarrow

    fields = []
    for field in schema:
        kind = field.type.value_type if pyarrow.types.is_dictionary(field.type) else field.type
        try:
            datasets.Features.from_arrow_schema(pyarrow.schema([pyarrow.field(field.name, kind)]))
        except (ValueError, TypeError, NotImplementedError, KeyError):
            continue
        fields.append(pyarrow.field(field.name, kind))
    metadata = schema.metadata if len(fields) == len(schema) else None
    return pyarrow.schema(fields, metadata=metadata)


def _cast(batch: Any, schema: Any) -> Any:
    import pyarrow

    arrays = []
    for field in schema:
        column = batch.column(field.name)
        if pyarrow.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        arrays.append(column)
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)


def _with_absolute_paths(table: Any, beside: Path, root: Path, image_column: str | None) -> Any:
    """Return the table with relative paths of image files, from the table's folder or the data's, made absolute."""
    import datasets
    import pyarrow

    column = next((name for name in (image_column, *IMAGE_NAMES) if name in table.features), None)
    typed = any(type(feature).__name__ == "Image" for feature in table.features.values())
    texts = datasets.Value("string"), datasets.Value("large_string")
    if column is None or typed or table.features[column] not in texts:
        return table
    paths = table.with_format("arrow")[:].column(column).to_pylist()
    first = next((path for path in paths if path), "")
    base = beside if (beside / first).is_file() else root
    absolute = [None if path is None else str((base / path).resolve()) for path in paths]
    features = table.features.copy()
    features[column] = datasets.Image(decode=False)
    arrow = table.with_format("arrow")[:]
    stored = pyarrow.array(
        [None if path is None else {"bytes": None, "path": path} for path in absolute], type=features[column].pa_type
    )
    arrow = arrow.set_column(arrow.column_names.index(column), column, stored)
    return datasets.Dataset(datasets.table.InMemoryTable(arrow.cast(features.arrow_schema)))


def _joined(folder: Path, split: str, file_tables: Sequence[Any]) -> Any:
    """Return a split's files as one table, class names of later files matched to those of the first by name.

    Raises BadInput for files with different columns or kinds of labels.
    """
    import datasets

    first = file_tables[0].features
    alike = []
    for table in file_tables:
        if set(table.features) != set(first):
            raise BadInput(f"{folder}: the {split} split cannot be read as one: its files do not have the same columns")
        alike.append(_renumbered(table.select_columns(list(first)), first))
    try:
        return datasets.concatenate_datasets(alike) if len(alike) > 1 else alike[0]
    except (ValueError, TypeError) as error:
        raise BadInput(f"{folder}: the {split} split's files differ in the kind of a column") from error


def _renumbered(table: Any, features: Any) -> Any:
    """Renumber a file's `ClassLabel` columns as in `features`. Raises BadInput for a class that is not there."""
    import datasets
    import pyarrow

    for column, wanted in features.items():
        own = table.features[column]
        names = getattr(own, "names", None)
        if names is None or names == getattr(wanted, "names", None):
            continue
        if getattr(wanted, "names", None) is None or set(names) != set(wanted.names):
            raise BadInput(f"the files of a split name the classes of column {column!r} differently")
        place = [wanted.names.index(name) for name in names]
        arrow = table.with_format("arrow")[:]
        values = [None if v is None or v < 0 else place[v] for v in arrow.column(column).to_pylist()]
        index = arrow.column_names.index(column)
        arrow = arrow.set_column(index, column, pyarrow.array(values, type=pyarrow.int64()))
        changed = table.features.copy()
        changed[column] = wanted
        table = datasets.Dataset(datasets.table.InMemoryTable(arrow.cast(changed.arrow_schema)))
    return table
