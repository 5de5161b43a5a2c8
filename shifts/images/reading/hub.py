"""Opening datasets through Hugging Face `datasets`: the Hub and `save_to_disk` folders."""

import logging
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shifts.common.errors import BadInput

PROBE_SECONDS = 5
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_hub_id(name: str) -> bool:
    """Return whether `name` has the form owner/name."""
    return _HUB_ID.fullmatch(name) is not None


def open_saved(folder: Path) -> Mapping[str, Any]:
    """Return the splits (`datasets.Dataset`) of a folder that `DatasetDict.save_to_disk` wrote. Raises BadInput."""
    import datasets

    return _opened(str(folder), lambda: datasets.load_from_disk(str(folder)))


def open_hub(hub_id: str, config: str | None = None) -> Mapping[str, Any]:
    """Return the splits of a Hub dataset, from the local cache where the Hub cannot be reached.

    config: which of its configurations. Raises BadInput, within seconds, where there is neither network nor a cached
    copy, for an unknown id, and where a configuration must be named.
    """
    import datasets

    with _offline_if_unreachable(hub_id):
        return _opened(hub_id, lambda: datasets.load_dataset(hub_id, config))


def _opened(what: str, load: Any) -> Mapping[str, Any]:
    import datasets
    import pyarrow

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        with _quiet():
            splits = load()
    except ConnectionError as error:
        raise BadInput(
            f"cannot reach the Hugging Face Hub for {what} and no copy is cached; download "
            f"https://huggingface.co/datasets/{what} elsewhere and give its folder with --data-dir"
        ) from error
    except datasets.exceptions.DatasetNotFoundError as error:
        raise BadInput(f"{what}: no such dataset on the Hugging Face Hub, or access is not granted") from error
    except FileNotFoundError as error:
        raise BadInput(f"{what} holds no data that can be read (parquet, arrow or an image folder)") from error
    except (datasets.exceptions.DatasetsError, pyarrow.ArrowException, ValueError) as error:
        cause = error.__cause__ or error
        reason = str(cause).strip().partition("\n")[0]
        if configs := re.search(r"(?s)config.*?(\[.*?\])", str(cause)):
            reason = f"name one of its configurations with --config: {configs[1]}"
        if isinstance(cause, datasets.table.CastError):
            reason = "its files do not have the same columns"
        raise BadInput(f"{what} cannot be read as a dataset: {reason}") from error
    if not isinstance(splits, Mapping):
        raise BadInput(f"{what} holds one split; a dataset with a train and a test split is needed")
    return splits


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log lines of `datasets` and the Hub's client. Failures are raised, and said in one line."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _offline_if_unreachable(hub_id: str) -> Iterator[None]:
    """Switch `datasets` to its cache for a while if the Hub does not answer: its own retries take minutes."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    if not before:
        datasets.config.HF_HUB_OFFLINE = not _answers(f"{datasets.config.HF_ENDPOINT}/api/datasets/{hub_id}")
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # A refusal is an answer; `datasets` says what it means.
    except OSError:
        return False
