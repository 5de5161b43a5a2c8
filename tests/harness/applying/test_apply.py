"""`python -m harness.apply`: answers for unlabelled images, from one file or two, written and judged."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness import adapters
from harness.adapters.choose_source import ChooseSource
from harness.adapters.mean import Mean
from harness.adapters.parts.chosen import Chosen
from harness.adapters.parts.contract import Adapter
from harness.adapters.parts.expected import Expected
from harness.apply import apply, main
from harness.applying.answers import Answers
from harness.applying.applied import Applied
from harness.applying.verdict import verdict as verdict_of
from harness.evidence.files import load_unlabelled, save_evidence
from shifts.common.errors import BadInput
from tests.harness.simulated import CLASSES, PRIORS, SKEWED, UNIFORM, simulated
from tests.harness.small import call, one_line

COUNTS = np.ceil(1000 * 0.6 ** np.arange(CLASSES)).astype(np.int64)
NAMES = [f"class {number}" for number in range(CLASSES - 1)] + ["=1+1\u2028 \u00e9"]


def write(path: Path, prior: np.ndarray = SKEWED, images: int = 600, *, source: int = 0, **more: Any) -> Path:
    evidence, labels = simulated(prior, images, seed=more.pop("seed", 0), source=source)
    if source and evidence.source is not None:
        more |= {"source_logits": evidence.source.logits, "source_labels": evidence.source.labels}
    if more.pop("labelled", False):
        more["labels"] = labels
    logits = more.pop("logits", evidence.logits)
    given = {"train_counts": COUNTS, "expert_priors": PRIORS.values, "class_names": NAMES} | more
    save_evidence(path, logits=logits, **given)
    return path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of a shifted set with labelled source images."""
    return write(tmp_path_factory.mktemp("both") / "both.safetensors", source=100)


def run(*arguments: object) -> Any:
    return call(*arguments, module="harness.apply")


# Answers


@pytest.mark.parametrize("name", ["mean", "em", "eb_em_recal", "choose", "choose_source", "bbse", "calibrated"])
def test_answers_are_those_of_the_adapter(both: Path, name: str) -> None:
    read = load_unlabelled(both)
    adapter = adapters.get(name)
    assert isinstance(adapter, Adapter)
    fitted = adapter.fit(read.evidence, read.train_counts, read.expert_priors, 0)
    logits = fitted.predict(read.evidence).astype(np.float64)
    made = apply(both, adapter=name)
    np.testing.assert_array_equal(made.classes, logits.argmax(axis=1))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(made.probabilities, (powers / powers.sum(axis=1, keepdims=True)).max(axis=1), rtol=1e-4)
    np.testing.assert_array_equal(made.plain, read.evidence.logits.mean(axis=1).argmax(axis=1))


@pytest.mark.parametrize("name", ["stream_em", "stream_em_bcts", "stream_history"])
def test_a_stream_is_answered_in_the_order_of_the_file(both: Path, name: str) -> None:
    read = load_unlabelled(both)
    adapter = adapters.get(f"{name}:batch=50")
    assert isinstance(adapter, Adapter)
    fitted = adapter.fit(read.evidence, read.train_counts, read.expert_priors, 0)
    made = apply(both, adapter=name, order="stream", batch=50)
    np.testing.assert_array_equal(made.classes, fitted.predict(read.evidence).argmax(axis=1))


def test_labels_are_not_looked_at(tmp_path: Path) -> None:
    without = write(tmp_path / "without.safetensors", UNIFORM, source=50)
    with_labels = write(tmp_path / "with.safetensors", UNIFORM, source=50, labelled=True)
    for one in (without, with_labels):
        assert run(one, "--output", one.with_suffix(".csv")).status == 0
    assert with_labels.with_suffix(".csv").read_bytes() == without.with_suffix(".csv").read_bytes()


def test_the_images_of_another_file_with_the_source_of_the_models(tmp_path: Path) -> None:
    model = write(tmp_path / "model.safetensors", UNIFORM, 300, source=100)
    night = write(tmp_path / "night.safetensors", SKEWED, 400, seed=5)
    whole = write(tmp_path / "whole.safetensors", SKEWED, 400, seed=5)
    assert apply(night).adapter.name == "choose"
    made = apply(model, images=night)
    assert made.adapter.name == "choose_source"
    assert len(made.classes) == 400
    np.testing.assert_array_equal(made.plain, apply(whole).plain)


def test_half_precision_is_read_where_it_lies(tmp_path: Path) -> None:
    logits = simulated(SKEWED, 300)[0].logits
    half = write(tmp_path / "half.safetensors", images=300, logits=logits.astype(np.float16))
    whole = write(tmp_path / "whole.safetensors", images=300, logits=logits.astype(np.float16).astype(np.float32))
    assert load_unlabelled(half).evidence.logits.dtype == np.float16
    np.testing.assert_array_equal(apply(half, adapter="em").classes, apply(whole, adapter="em").classes)


# Whether to trust them


def verdict(made: Applied) -> str:
    assert made.verdict is not None
    return made.verdict.word


def test_a_large_shift_is_adapted_to(both: Path, tmp_path: Path) -> None:
    for made in (apply(both), apply(write(tmp_path / "bare.safetensors"))):
        assert verdict(made) == "adapt"
        assert made.answers.changed > 0.05
        assert made.prior is not None
        assert made.low is not None
        assert made.high is not None
        assert ((made.low <= made.prior) & (made.prior <= made.high)).all()
        assert np.mean((made.low <= SKEWED) & (made.high >= SKEWED)) >= 0.7


def test_an_unshifted_set_is_left_alone(tmp_path: Path) -> None:
    made = apply(write(tmp_path / "bare.safetensors", UNIFORM, 2000))
    assert verdict(made) != "adapt"
    assert made.answers.changed == 0
    assert "answers:  without adaptation" in run(tmp_path / "bare.safetensors").out


def test_what_loses_is_told_from_source_images(tmp_path: Path) -> None:
    """EM on a model that is too sure, and whose first class it names too often, moves away from the truth."""
    evidence, _ = simulated(UNIFORM, 2000, source=100)
    assert evidence.source is not None
    skew = 6.0 * (np.arange(CLASSES) == 0) + 2.0 * (np.arange(CLASSES) == 1)
    file = write(
        tmp_path / "sure.safetensors",
        UNIFORM,
        logits=evidence.logits + skew.astype(np.float32),
        source_logits=evidence.source.logits + skew.astype(np.float32),
        source_labels=evidence.source.labels,
    )
    made = apply(file, adapter="em")
    assert verdict(made) == "do not adapt"
    assert verdict(apply(file)) == "adapt", "calibration mends it"


def test_no_adaptation_needs_no_verdict(both: Path) -> None:
    made = apply(both, adapter="mean")
    assert made.verdict is None
    assert not made.adapted


def test_what_is_said_of_the_answers_is_so(tmp_path: Path) -> None:
    """An adapter that was named answers with adaptation also where no class changes; one that chooses may not."""
    sure = write(tmp_path / "sure.safetensors", UNIFORM, 50, logits=50 * np.eye(CLASSES)[np.arange(50) % CLASSES])
    assert "answers:  adapted; every class is that without adaptation" in run(sure, "--adapters", "em").out
    assert "answers:  without adaptation" in run(sure).out
    assert apply(sure, adapter="em").adapted
    assert not apply(sure).adapted


@pytest.mark.parametrize(
    ("gain", "word"),
    [(-1e-2, "do not adapt"), (-1e-7, "cannot be told"), (1e-7, "cannot be told"), (1e-2, "adapt")],
)
def test_a_difference_that_is_shown_as_none_is_not_sure(both: Path, gain: float, word: str) -> None:
    read = load_unlabelled(both)
    plain = Mean().fit(read.evidence, read.train_counts, read.expert_priors, 0)
    said = Expected(0.9, 0.9 + gain, np.full(40, gain))
    tried = Answers(np.zeros(600, int), np.ones(600), np.zeros(600, int))
    adapted = Chosen(plain.weights, tried=plain, said=said)
    found = verdict_of(read, ChooseSource(), adapted, plain, tried, 0)
    assert found is not None
    assert found.word == word


def test_a_source_that_cannot_be_used_or_flatters_is_told(tmp_path: Path) -> None:
    evidence, _ = simulated(SKEWED, 300, source=20)
    assert evidence.source is not None
    lacks = evidence.source.labels != 3
    source = {"source_logits": evidence.source.logits[lacks], "source_labels": evidence.source.labels[lacks]}
    found = run(write(tmp_path / "lacks.safetensors", **source))
    assert "180 labelled source images (of no use: its source has no image of class 3)" in " ".join(found.out.split())
    assert "adapter:  choose version" in found.out
    found = run(write(tmp_path / "seen.safetensors", source=20, source_seen=150))
    assert "200 labelled source images (150 of them trained on)" in found.out
    assert "(accuracies are too good: 150 source images were trained on)" in " ".join(found.out.split())


# Files


def test_one_line_an_image_in_every_format(tmp_path: Path) -> None:
    ids = [f"night/{number}.png" for number in range(600)]
    file = write(tmp_path / "night.safetensors", ids=ids)
    for suffix in ("csv", "jsonl", "parquet"):
        assert run(file, "--output", tmp_path / f"predictions.{suffix}").status == 0
    lines = list(csv.DictReader((tmp_path / "predictions.csv").open(encoding="utf-8", newline="")))
    as_json = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text("utf-8").split("\n")[:-1]]
    table = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert [line["id"] for line in lines] == ids
    assert table == as_json
    assert [{key: str(value) for key, value in line.items()} for line in as_json] == lines
    made = apply(file)
    assert [line["class"] for line in lines] == [NAMES[answer] for answer in made.classes]
    assert [line["class_without_adaptation"] for line in lines] == [NAMES[answer] for answer in made.plain]


def test_names_that_two_classes_have_are_told_apart(tmp_path: Path) -> None:
    file = write(tmp_path / "cranes.safetensors", class_names=["crane", *NAMES[1:5], "crane", *NAMES[6:]])
    assert run(file, "--output", tmp_path / "predictions.csv").status == 0
    made = apply(file)
    assert made.class_names == ("crane (0)", *NAMES[1:5], "crane (5)", *NAMES[6:])
    lines = list(csv.DictReader((tmp_path / "predictions.csv").open(encoding="utf-8", newline="")))
    assert [line["class"] for line in lines] == [made.class_names[answer] for answer in made.classes]


def test_shares_beside_the_answers(both: Path, tmp_path: Path) -> None:
    assert run(both, "--output", tmp_path / "predictions.csv").status == 0
    told = json.loads((tmp_path / "prior.json").read_text("utf-8"))
    assert [line["class"] for line in told["classes"]] == NAMES
    shares = np.array([line["estimated_share"] for line in told["classes"]])
    assert shares.sum() == pytest.approx(1)
    assert np.abs(shares - SKEWED).max() < 0.06
    assert all(line["low"] <= line["estimated_share"] <= line["high"] for line in told["classes"])
    assert told["adapter"]["name"] == "choose_source"
    assert told["verdict"]["word"] == "adapt"
    run(both, "--output", tmp_path / "monday.csv")
    assert (tmp_path / "monday.prior.json").exists()


def test_the_same_twice(both: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(both, "--output", tmp_path / f"{name}.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.prior.json").read_bytes() == (tmp_path / "b.prior.json").read_bytes()


def test_the_summary_fits_a_terminal(both: Path, tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.safetensors", class_names=["x" * 300, *map(str, range(1, CLASSES))])
    for arguments in ((both,), (bare,), (both, "--order", "stream"), (bare, "--adapters", "mean")):
        found = run(*arguments)
        assert found.status == 0, found.err
        assert max(map(len, found.out.splitlines())) <= 100


def test_names_that_a_terminal_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not of UTF-8, or where output goes to a file on a system that takes another encoding."""
    file = write(tmp_path / "night.safetensors", class_names=["caf\u00e9", *NAMES[1:]])
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main([str(file)]) == 0
    assert b"caf\\xe9" in written.getvalue()


def test_nothing_is_done_in_a_dry_run(both: Path, tmp_path: Path) -> None:
    found = run(both, "--dry-run", "--output", tmp_path / "a.csv")
    assert found.status == 0
    assert "600 images would be answered by choose_source" in found.out
    assert list(tmp_path.iterdir()) == []


# What is refused


def test_refused(both: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        found = run(*arguments)
        assert found.status == 2
        return one_line(found.err)

    assert "would" not in refused(tmp_path / "none.safetensors")
    assert "told the labels" in refused(both, "--adapters", "oracle_prior")
    assert "give --order stream" in refused(both, "--adapters", "stream_em")
    assert "leave out --order stream" in refused(both, "--adapters", "em", "--order", "stream")
    assert ".parquet, .csv, .jsonl" in refused(both, "--output", tmp_path / "a.txt")
    assert "allowed:" in refused(both, "--adapters", "emm")
    assert "at least 2" in refused(write(tmp_path / "one.safetensors", images=1))
    bare = write(tmp_path / "bare.safetensors")
    assert "no source" in refused(bare, "--adapters", "em_bcts")
    assert "is no file" in refused(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--batch", "5"), "for a stream"),
        (("--order", "stream", "--adapters", "stream_em:batch=10", "--batch", "20"), "contradicts --batch 20"),
        (("--order", "stream", "--adapters", "stream_em:order=shuffled"), "leave out order=shuffled"),
    ],
)
def test_options_that_contradict_each_other(both: Path, options: tuple[str, ...], words: str) -> None:
    assert words in one_line(run(both, *options).err)


def test_a_batch_is_that_of_the_option_or_the_adapters_own(both: Path) -> None:
    for name, batch, found in (("stream_em", None, 64), ("stream_em:batch=10", None, 10), ("stream_em", 7, 7)):
        settings = apply(both, adapter=name, order="stream", batch=batch).as_json()["adapter"]["settings"]
        assert settings["batch"] == found
        assert "order" not in settings, "the file has one of its own"


def test_output_that_has_no_place(both: Path, tmp_path: Path) -> None:
    """Refused before work starts; nothing that is read is written over, under whatever name."""
    model = tmp_path / "model.csv"
    model.write_bytes(both.read_bytes())
    (tmp_path / "shares").mkdir()
    (tmp_path / "shares" / "prior.json").symlink_to(model)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "monday.prior.json").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for name, words in {
        "model.csv": "which is read",
        "shares/predictions.csv": "which is read",
        "folder.csv": "is a folder",
        "monday.csv": "monday.prior.json is a folder",
        "model.csv/deep/a.csv": "is no folder",
    }.items():
        found = run(model, "--dry-run", "--output", tmp_path / name)
        assert (found.status, words in one_line(found.err)) == (2, True), found.err
    assert "which is read" in one_line(run(both, "--images", model, "--output", model).err)
    assert sorted(tmp_path.rglob("*")) == before
    assert model.read_bytes() == both.read_bytes()


def test_class_names_that_no_file_can_hold(both: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="class_names hold half a character"):
        write(tmp_path / "half.safetensors", class_names=["\ud800", *NAMES[1:]])


@pytest.mark.parametrize("seed", [-1, 0.5, None, "0"])
def test_seeds_that_are_none(both: Path, seed: Any) -> None:
    with pytest.raises(BadInput, match="seed must be a whole number"):
        apply(both, seed=seed)


def test_the_list_names_every_adapter_that_can_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """And no other: the list must not import them to know."""
    with pytest.raises(SystemExit):
        main(["--list"])
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert listed == {name for name in adapters.ADAPTERS if isinstance(adapters.get(name), Adapter)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"logits": np.zeros((5, 1, CLASSES + 1), np.float32)}, "11 classes, not 10"),
        ({"logits": np.zeros((5, 2, CLASSES), np.float32)}, "2 experts, not 1"),
        ({"class_names": [*NAMES[:-1], "dog"]}, "'dog' as class 9"),
        ({"train_counts": COUNTS + 1}, "other train_counts"),
        ({"expert_priors": SKEWED[None]}, "other expert_priors"),
    ],
)
def test_images_of_another_model(both: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    shape = changes.get("logits", np.zeros((5, 1, CLASSES))).shape
    base = {
        "logits": np.zeros((5, 1, CLASSES), np.float32),
        "train_counts": COUNTS if shape[2] == CLASSES else np.full(shape[2], 100),
        "expert_priors": np.full(shape[1:], 1 / shape[2]),
        "class_names": NAMES if shape[2] == CLASSES else None,
    }
    save_evidence(tmp_path / "other.safetensors", **(base | changes))
    with pytest.raises(BadInput, match=words):
        apply(both, images=tmp_path / "other.safetensors")


def test_numbers_that_are_none(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    file = write(tmp_path / "night.safetensors")
    arrays = load_file(file)
    arrays["logits"][7, 0, 3] = np.nan
    save_file(arrays, tmp_path / "bad.safetensors")
    assert "logits has NaN or infinite values, first at [7, 0, 3]" in one_line(run(tmp_path / "bad.safetensors").err)
