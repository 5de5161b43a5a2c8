"""A local data folder, whatever its form: `save_to_disk`, an image folder, zip archives, tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shifts.common.errors import BadInput, check_name
from shifts.images.reading.columns import Splits, image_sets, single_label
from shifts.images.reading.folders import LAYOUT, read_folder
from shifts.images.reading.hub import open_saved
from shifts.images.reading.metadata import read_described
from shifts.images.reading.tables import read_tables


def open_folder(
    name: str,
    folder: Path,
    image_column: str | None = None,
    label_column: str | None = None,
    class_names: Sequence[str] | None = None,
    ids: Path | None = None,
    *,
    config: str | None = None,
    test_split: str | None = None,
    test_fraction: float | None = None,
) -> Splits:
    """Return the image sets of a local folder and what was understood of it.

    config: which of the configurations that its README declares; test_split: the split to test on; test_fraction:
    the part of each class that becomes the test set of data without one. Raises BadInput for a folder that is
    missing, holds no data, or does not say clearly what it holds.
    """
    if not folder.is_dir():
        raise BadInput(f"no such data folder: {folder}")
    how: dict[str, Any] = {"test_split": test_split, "test_fraction": test_fraction}
    columns = (image_column, label_column, class_names, ids)
    if (folder / "dataset_dict.json").is_file():
        return image_sets(name, open_saved(folder), *columns, **how)
    if (folder / "state.json").is_file():
        raise BadInput(f"{folder} holds one split; a dataset with a train and a test split is needed")
    inner, declared = _configuration(folder, config)
    images, notes = read_folder(inner)
    if not images or label_column is not None:
        described, origins, told = read_described(inner)
        if described:
            return image_sets(name, described, *columns, origins=origins, **how).with_notes(told)
    if not images and test_fraction is not None:
        images, notes = read_folder(inner, splits=False)
    if images:
        if class_names is not None or ids is not None:
            raise BadInput(f"{name}: {folder} is an image folder, one class an image; lists of labels are needed")
        return single_label(name, images, **how).with_notes(notes)
    tables, origins, notes = read_tables(inner, declared, image_column)
    if tables:
        return image_sets(name, tables, *columns, origins=origins, **how).with_notes(notes)
    raise BadInput(_nothing(inner))


def _nothing(folder: Path) -> str:
    """Say what an unreadable folder lacks."""
    if read_folder(folder, splits=False)[0]:
        return (
            f"{folder} holds images, but no train and test folders with a folder for each class; {LAYOUT}, or give "
            "--test-fraction 0.2 where its folders are the classes"
        )
    return f"{folder} holds no data that can be read (Parquet, Arrow, CSV, JSON lines, zip archives, an image folder)"


def _configuration(folder: Path, asked: str | None) -> tuple[Path, dict[str, list[str]] | None]:
    """Return the folder of the chosen configuration and the patterns of its files by split, if README.md has any."""
    declared = _declared(folder / "README.md")
    if not declared:
        if asked is not None:
            raise BadInput(f"{folder} declares no configurations (--config {asked}); its README.md would")
        return folder, None
    names = [str(entry.get("config_name")) for entry in declared]
    default = [name for name, entry in zip(names, declared, strict=True) if entry.get("default") or name == "default"]
    if asked is not None:
        check_name("configuration", asked, names)
    elif len(names) > 1 and not default:
        raise BadInput(f"{folder} has {len(names)} configurations; name one with --config: {', '.join(names)}")
    chosen = declared[names.index(asked or (default or names)[0])]
    inner = folder / str(chosen.get("data_dir", "."))
    if not inner.is_dir():
        raise BadInput(f"{folder}: README.md declares the folder {chosen['data_dir']}, which is not there")
    return inner, _patterns(chosen.get("data_files"))


def _declared(readme: Path) -> list[Mapping[str, Any]]:
    """Read the configurations in the YAML head of a README, as the Hub has them; none where it has no such head."""
    import yaml

    if not readme.is_file():
        return []
    text = readme.read_text(encoding="utf-8-sig", errors="replace")
    if not text.startswith("---"):
        return []
    try:
        head = yaml.safe_load(text.split("\n---", 1)[0].removeprefix("---"))
    except yaml.YAMLError:
        return []
    configs = head.get("configs") if isinstance(head, dict) else None
    return [entry for entry in configs if isinstance(entry, dict)] if isinstance(configs, list) else []


def _patterns(data_files: Any) -> dict[str, list[str]] | None:
    """Return patterns by split, from one or several for train or a list of objects with `split` and `path`."""
    if data_files is None:
        return None
    entries = data_files if isinstance(data_files, list) else [data_files]
    patterns: dict[str, list[str]] = {}
    for entry in entries:
        split, paths = (entry.get("split"), entry.get("path")) if isinstance(entry, dict) else ("train", entry)
        patterns.setdefault(str(split), []).extend(map(str, paths if isinstance(paths, list) else [paths]))
    return patterns
