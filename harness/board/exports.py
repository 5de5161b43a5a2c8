"""Stored rows for other programs: Hugging Face evaluation results (YAML) and CSV. `python -m harness.export`.

`csv` is one file, one line a row, with every field that is a single value. Numbers read back as they were; an empty
cell is a value that there is not.

`hf-yaml` is a folder with a folder for each trained network, laid out as its model repository on the Hugging Face Hub:

- `README.md`: a model card whose metadata holds the results as `model-index`, for any dataset
  (https://github.com/huggingface/hub-docs/blob/main/modelcard.md);
- `.eval_results/<adapter>.yaml`: an entry a shift (https://huggingface.co/docs/hub/eval-results), where the dataset has
  an id on the Hub: the catalog's, or `--hub-dataset`. The Hub shows them if that dataset is registered as a benchmark
  with tasks named like the shifts.

Values are fractions of 1, nats for the negative log-likelihood. Of several versions of a program part only the newest
counts there.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, get_type_hints

from harness.board.build import current
from harness.records.record import order
from harness.records.rows import Row
from harness.show.access import knew
from harness.show.settings import recipe_words, train_words
from shifts.common.files import file_name

SCALARS = tuple(
    name
    for name, hint in get_type_hints(Row).items()
    if not re.search("list|dict", str(hint)) and name != "correct_bits"
)
"""Row fields that hold a single value: the columns of a CSV file."""


METRICS = {
    "top1": ("accuracy", "top-1 accuracy"),
    "macro": ("accuracy", "accuracy, mean over classes"),
    "many": ("accuracy", "accuracy, many-shot classes"),
    "medium": ("accuracy", "accuracy, medium-shot classes"),
    "few": ("accuracy", "accuracy, few-shot classes"),
    "nll": ("nll", "negative log-likelihood"),
    "ece": ("ece", "expected calibration error"),
}
"""Row field -> metric id and name of a `model-index`."""


def csv_text(found: Sequence[Row]) -> str:
    """Return the rows as CSV with a header, sorted as rows are; LF line ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SCALARS)
    writer.writerows([getattr(row, name) for name in SCALARS] for row in sorted(found, key=order))
    return text.getvalue()


def hub_files(found: Sequence[Row], hub_dataset: str | None = None) -> dict[str, str]:
    """Return relative path -> text of the `hf-yaml` folder. hub_dataset: OWNER/NAME in place of the catalog's id."""
    networks: dict[str, list[Row]] = defaultdict(list)
    for row in sorted((row for group in current(found) for row in group), key=order):
        networks[model_name(row)].append(row)
    made = {}
    for name, rows in networks.items():
        hub_id = hub_dataset or hub_id_of(rows[0].dataset)
        made[f"{name}/README.md"] = _model_card(name, rows, hub_id)
        if hub_id is not None:
            by_file = defaultdict(list)
            for row in rows:
                by_file[_setting_file(row)].append(_entry(row, hub_id))
            made |= {f"{name}/.eval_results/{file}.yaml": _yaml(entries) for file, entries in by_file.items()}
    return made


def model_name(row: Row) -> str:
    """Return a name for the network behind a row, usable as the name of a Hub repository.

    It ends in the checkpoint's hash.
    """
    imbalance = "natural" if row.train_imbalance is None else f"lt{row.train_imbalance:g}"
    seed = [] if row.train_seed is None else [f"seed{row.train_seed}"]
    words = [row.method, row.dataset, imbalance, *([row.recipe] if row.recipe else []), *seed]
    return f"{_repository('-'.join(words))[:80]}-{row.checkpoint_sha256[:8]}"


def hub_id_of(dataset: str) -> str | None:
    """Return a dataset's id on the Hugging Face Hub, None where it has none (embedded or local data)."""
    from shifts.images.entries import ENTRIES
    from shifts.images.reading.hub import is_hub_id

    listed = {entry.name: entry.hub_id for entry in ENTRIES}
    return listed.get(dataset, dataset if is_hub_id(dataset) else None)


def _model_card(name: str, rows: Sequence[Row], hub_id: str | None) -> str:
    """Return a README.md with the results of one network in its metadata."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Image classification under test-time label shift",
            dataset_type=hub_id or row.dataset,
            dataset_name=f"{row.dataset}, shift {row.shift}",
            dataset_config=row.shift,
            dataset_split=row.test_split,
            dataset_args={"n": row.n, "test_fingerprint": row.test_fingerprint},
            metric_type=metric,
            metric_name=f"{words}, {_setting(row)}",
            metric_value=getattr(row, field),
            metric_config=_setting(row),
            metric_args={
                "field": field,
                "prior_access": row.prior_access,
                "label_access": row.label_access,
                "test_access": row.test_access,
                "row_id": row.row_id,
            },
        )
        for row in rows
        for field, (metric, words) in METRICS.items()
        if getattr(row, field) is not None
    ]
    data = ModelCardData(model_name=name, eval_results=results, pipeline_tag="image-classification")
    first = rows[0]
    about = (
        f"`{first.method}` ({first.backbone or 'unknown network'}), {recipe_words(first)}, trained on {first.dataset}, "
        f"{train_words(first)}.\nThe metadata holds its results under label shift, one for each shift, adapter and "
        "metric;\na metric's `args` say what the adapter knew."
    )
    return f"---\n{data.to_yaml()}\n---\n\n# {name}\n\n{about}\n"


def _entry(row: Row, hub_id: str) -> dict[str, Any]:
    """Return an entry of an `.eval_results` file."""
    seed = "" if row.train_seed is None else f", train seed {row.train_seed}"
    notes = f"top-1 accuracy, adapter {_setting(row)}, knew: {knew(vars(row))}; {row.method}, {recipe_words(row)}, "
    return {
        "dataset": {"id": hub_id, "task_id": row.shift},
        "value": row.top1,
        "notes": f"{notes}trained on {train_words(row)}{seed}; row {row.row_id[:12]}",
    }


def _setting(row: Row) -> str:
    """Return the adapter, and what else tells two of its rows on one network apart."""
    return ", ".join([row.adapter, *_further(row)])


def _further(row: Row) -> list[str]:
    """Return what tells rows of one adapter on one network apart, in words."""
    parts = []
    if row.views is not None:
        parts.append(f"{row.views} view pairs")
    if row.source_n:
        parts.append(f"{row.source_n} source labels")
    if row.evidence_precision not in (None, "fp32"):
        parts.append(f"evidence in {row.evidence_precision}")
    return parts


def _setting_file(row: Row) -> str:
    """Return `_setting` as a file name: another setting has another name."""
    name, colon, options = row.adapter.partition(":")
    # No adapter has a dash in its name, so that this replaces nothing that could tell two apart.
    parts = [name.replace("_", "-") + colon + options, *(part.replace(" ", "-") for part in _further(row))]
    return file_name("-".join(parts))


def _yaml(value: object) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def _repository(text: str) -> str:
    """Return `text` with every run of other characters than letters, digits, dots and dashes as one dash."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")
