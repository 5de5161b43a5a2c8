"""The leaderboard's types, and the JSON Schema that is made of them.

`leaderboard.schema.json` is what `text` returns; a test holds it to that. To write it anew:
`python -c "from harness.board.schema import text; print(text(), end='')" > harness/board/leaderboard.schema.json`
"""

import json
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, NotRequired, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

from harness.evidence.access import LABELS, PRIORS, TESTS
from shifts.common.errors import WorkFailed
from shifts.labels.kinds import KINDS

LEADERBOARD_SCHEMA = 3

Count = Annotated[int, ("minimum", 1)]
Least0 = Annotated[int, ("minimum", 0)]
Share = Annotated[float, ("minimum", 0), ("maximum", 1)]
Amount = Annotated[float, ("minimum", 0)]
Interval = Annotated[list[Share], ("minItems", 2), ("maxItems", 2)]
Hash = Annotated[str, ("maxLength", 16), "the first digits of a SHA-256, which rows have in full"]
Sha256 = Annotated[str, ("pattern", "^[0-9a-f]{64}$")]
Seeds = Annotated[list[int | None], ("minItems", 1), "one a row; null for somebody else's model"]
Ids = Annotated[list[Sha256], ("minItems", 1), "of the rows behind the entry, in the order of train_seeds"]
PriorAccess = Annotated[str, ("enum", PRIORS)]
LabelAccess = Annotated[str, ("enum", LABELS)]
TestAccess = Annotated[str, ("enum", TESTS)]


class Average(TypedDict):
    """A mean over train seeds; sd has ddof = 1 and is null for one seed."""

    mean: float
    sd: float | None
    n: Count


class Fraction(TypedDict):
    """A mean over train seeds of something between 0 and 1; sd has ddof = 1 and is null for one seed."""

    mean: Share
    sd: float | None
    n: Count


AVERAGES = (Average, Fraction, Average | None, Fraction | None)


class Reported(TypedDict):
    """A published figure for the same setting; primary: from the method's own paper."""

    value: Share
    source: str
    primary: bool


class Setting(TypedDict):
    """What makes one line, whatever the shift."""

    task: Literal["single_label", "multi_label"]
    dataset: str
    train_fingerprint: Hash | None
    test_fingerprint: Hash
    test_split: str
    train_profile: str | None
    train_imbalance: Annotated[float | None, "images of the largest class over those of the smallest"]
    train_rule: Annotated[str | None, "how images of a class were chosen"]
    train_subset_seed: int | None
    train_n: Annotated[Count, "training images"]
    train_counts_sha256: Hash
    method: str
    backbone: str | None
    parameters: int | None
    macs: Annotated[int | None, "multiply-accumulates of an image"]
    recipe: str | None
    recipe_sha256: Hash | None
    epochs: int | None
    adapter: str
    views: Annotated[int | None, "pairs of views of a test image that the adapter read"]
    evidence_precision: Literal["fp32", "bf16"] | None
    prior_access: PriorAccess
    label_access: LabelAccess
    test_access: TestAccess
    target_prior_kind: Annotated[Literal["exact", "approximate"], "of the prior that the experts answer for"]
    source_n: Annotated[int, "labelled source images that the adapter read"]
    source_seen: Annotated[int, "how many of these were trained on"]
    selection: Annotated[Literal["last", "best-on-test"], "how the checkpoint was chosen"]


class TestSet(TypedDict):
    """The published draw of one shift."""

    shift: str
    shift_kind: Annotated[str, ("enum", tuple(KINDS))]
    shift_ratio: float | None
    shift_alpha: float | None
    shift_seed: int | None
    shift_rule: str | None
    shift_origin: Literal["published", "generated"]
    n: Annotated[Count, "test images"]
    indices_sha256: Sha256


class Entry(Setting, TestSet):
    """One setting on one shift, over train seeds."""

    train_seeds: Seeds
    top1_interval: Annotated[Interval | None, "95 % Wilson interval of the draw; null for several train seeds"]
    tv_train_test: Annotated[Share, "total variation between train and test labels"]
    etvd: Annotated[Share, "largest total variation between the priors that two experts answer for"]
    weights: Annotated[list[float] | None, "of the experts, as the adapter learned them"]
    preference: Annotated[list[float] | None, "over the aims of a hypernetwork"]
    redraws: Annotated[int, "other draws of the shift, over all train seeds"]
    redraw_top1: Annotated[float | None, "mean over these"]
    subset_sd: Annotated[float | None, "standard deviation over the redraws of a train seed, mean over train seeds"]
    mcnemar_p_to_mean: Annotated[list[Share], "against no adaptation on the same images, one a train seed"]
    adaptation_hurts: Annotated[bool, "no adaptation lies above the interval on every train seed"]
    reported: Reported | None
    row_ids: Ids
    top1: Fraction
    many: Annotated[Fraction | None, "over classes with more than 100 training images"]
    medium: Annotated[Fraction | None, "over classes with 20 to 100 training images"]
    few: Annotated[Fraction | None, "over classes with fewer than 20 training images"]
    macro: Annotated[Fraction, "mean over classes"]
    nll: Annotated[Average, "negative log-likelihood, nats"]
    ece: Annotated[Fraction, "expected calibration error"]
    entropy: Annotated[Average, "of the predictions, nats"]
    delta_to_mean: Annotated[Average, "top-1 gained over no adaptation on the same images"]
    expected_top1: Annotated[Fraction | None, "from per-class accuracies over the whole pool, weighted as the draw is"]
    tv_experts_test_mean: Annotated[Fraction, "total variation between the experts' priors and the test labels"]
    tv_estimate_test: Annotated[Fraction | None, "total variation between the estimated test prior and the labels"]
    tv_predicted_test: Annotated[Fraction, "total variation between predicted and test labels"]
    mean_experts: Annotated[Average, "experts run for an image"]


class SetsMean(Setting):
    """Mean over the eleven published test sets, of a setting that has them all with the same train seeds."""

    train_seeds: Seeds
    top1: Share
    worst_top1: Share
    delta_to_mean: float


class LabelSetting(TypedDict):
    """What makes one line of the multi-label task, whatever the shift."""

    task: Literal["multi_label"]
    dataset: str
    train_fingerprint: Hash | None
    test_fingerprint: Hash
    test_split: str
    train_n: Annotated[Count, "training images"]
    train_labels_per_image: Amount
    train_counts_sha256: Hash
    method: str
    backbone: str | None
    initial_weights: str
    branches: Count
    parameters: int | None
    macs: Annotated[int | None, "multiply-accumulates of an image"]
    recipe: str | None
    recipe_sha256: Hash | None
    epochs: int | None
    adapter: str
    prior_access: PriorAccess
    label_access: LabelAccess
    test_access: TestAccess
    selection: Annotated[Literal["last", "best-on-test"], "how the checkpoint was chosen"]


class LabelTestSet(TypedDict):
    """The published draw of one shift of a multi-label pool."""

    shift: str
    shift_kind: Annotated[str, ("enum", tuple(name for name, kind in KINDS.items() if kind.of_label_sets))]
    shift_ratio: float | None
    shift_origin: Literal["published", "generated"]
    n: Annotated[Count, "test images"]
    labels_per_image: Amount
    indices_sha256: Sha256
    tv_train_test: Annotated[Share, "total variation between train and test label marginals"]
    tv_wanted: Annotated[Share | None, "total variation between the marginals reached and those asked for"]


class LabelEntry(LabelSetting, LabelTestSet):
    """One setting on one shift of the multi-label task, over train seeds; mAPs, bootstrap intervals for one seed."""

    evidence_precision: Annotated[NotRequired[Literal["bf16"]], "absent for float32"]
    map: Fraction
    map_interval: Interval | None
    head: Annotated[Fraction | None, "over labels with at least 100 training images"]
    head_interval: Interval | None
    medium: Annotated[Fraction | None, "over labels with 20 to 99 training images"]
    medium_interval: Interval | None
    tail: Annotated[Fraction | None, "over labels with fewer than 20 training images"]
    tail_interval: Interval | None
    f1_micro: Annotated[Fraction | None, "of logit > 0, over all labels"]
    f1_macro: Annotated[Fraction | None, "of logit > 0, mean over labels that occur"]
    train_seeds: Seeds
    train_counts: list[Least0]
    per_class_positives: list[Least0]
    per_class_ap: Annotated[list[Share | None], "average precision of each label, mean over train seeds"]
    reported: Reported | None
    row_ids: Ids


class LabelPart(TypedDict):
    """The multi-label task."""

    superseded: Least0
    entries: Annotated[list[LabelEntry], ("minItems", 1)]


class Board(TypedDict):
    """Accuracies are fractions of 1, distances total variations, averages over train seeds."""

    schema_version: Annotated[int, ("const", LEADERBOARD_SCHEMA)]
    superseded: Annotated[Least0, "rows left out, of older versions of a program part"]
    entries: list[Entry]
    means: list[SetsMean]
    multi_label: Annotated[NotRequired[LabelPart], "absent where there are no such rows"]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `Board`."""
    parts: dict[str, Any] = {}
    _schema_of(Board, parts)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Leaderboard of long-tailed recognition under test-time label shift",
        **parts.pop("Board"),
        "$defs": dict(sorted(parts.items())),
    }


def validate(value: object, kind: str = "Board", name: str = "the leaderboard") -> None:
    """Check a leaderboard, or a part of one that is of another type. Raises WorkFailed with the first violation."""
    for error in _validator(kind).iter_errors(value):
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
        raise WorkFailed(f"{name} breaks its schema at ${place}: {error.message}")


@cache
def _validator(kind: str) -> Any:
    import jsonschema_rs

    whole = schema()
    part = whole if kind == "Board" else {"$ref": f"#/$defs/{kind}", "$defs": whole["$defs"]}
    return jsonschema_rs.validator_for(part)


def text() -> str:
    """Return the JSON Schema as it lies in the package: a line for each property."""

    def lines(value: Any, indent: str) -> str:
        if not isinstance(value, dict) or not any(isinstance(part, dict) for part in value.values()):
            return json.dumps(value)
        inner = (f"{indent} {json.dumps(name)}: {lines(part, indent + ' ')}" for name, part in value.items())
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"

    return lines(schema(), "") + "\n"


def _schema_of(hint: Any, parts: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a type; those of TypedDicts go into `parts` by name."""
    if is_typeddict(hint):
        if hint.__name__ not in parts:
            hints = get_type_hints(hint, include_extras=True)
            parts[hint.__name__] = {
                "description": " ".join(hint.__doc__.split()),
                "type": "object",
                "properties": {name: _schema_of(of, parts) for name, of in hints.items()},
                "required": [name for name in hints if name in hint.__required_keys__],
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    first, *others = get_args(hint)
    if get_origin(hint) is Annotated:
        made = _schema_of(first, parts)
        for note in others:
            key, value = note if isinstance(note, tuple) else ("description", note)
            made[key] = list(value) if isinstance(value, tuple) else value
        return made
    if get_origin(hint) is Literal:
        return {"enum": [first, *others]}
    if get_origin(hint) is list:
        return {"type": "array", "items": _schema_of(first, parts)}
    if get_origin(hint) is NotRequired:
        return _schema_of(first, parts)
    if others == [NoneType]:
        made = _schema_of(first, parts)
        if "enum" in made:
            return made | {"enum": [*made["enum"], None]}
        return made | {"type": [made["type"], "null"]} if "type" in made else {"anyOf": [made, {"type": "null"}]}
    raise TypeError(f"no JSON Schema of {hint}")


_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}
