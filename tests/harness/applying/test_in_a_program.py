"""LabelShiftAdapter and OnlineAdapter: scikit-learn's conventions, the adapters' own answers, states that go on."""

import inspect
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas
import pytest
import torch
from scipy.special import softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from harness import LabelShiftAdapter, OnlineAdapter, adapters
from harness.adapters.parts.contract import Adapter
from harness.adapters.parts.streams import StreamAdapter
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors
from shifts.common.errors import BadInput
from tests.harness.simulated import CLASSES, COUNTS, PRIORS, SKEWED, UNIFORM, simulated

KNOWN = {"train_counts": COUNTS, "expert_priors": UNIFORM}
STREAMS = ["stream_em_bcts", "stream_em", "stream_history"]


def shown(images: int = 400, seed: int = 0, prior: np.ndarray = SKEWED) -> tuple[Evidence, np.ndarray]:
    return simulated(prior, images, seed, source=50)


def known(model: LabelShiftAdapter | OnlineAdapter, evidence: Evidence) -> None:
    assert evidence.source is not None
    model.fit(evidence.source.logits, evidence.source.labels, **KNOWN)


# A batch


@pytest.mark.parametrize("name", ["choose_source", "eb_em_recal", "em_bcts", "em", "mean"])
def test_the_adapters_own_answers(name: str) -> None:
    evidence, _ = shown()
    model = LabelShiftAdapter(name)
    known(model, evidence)
    adapter = adapters.get(name)
    assert isinstance(adapter, Adapter)
    fitted = adapter.fit(evidence, COUNTS, PRIORS, 0)
    expected = softmax(fitted.predict(evidence).astype(np.float64), axis=1)
    np.testing.assert_allclose(model.predict_proba(evidence.logits), expected, rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(evidence.logits[:, 0]), expected, rtol=1e-12)
    if fitted.prior is not None:
        np.testing.assert_array_equal(model.estimate_prior(evidence.logits), fitted.prior)
    else:
        with pytest.raises(ValueError, match="estimates no class shares"):
            model.estimate_prior(evidence.logits)


def test_it_wins_where_the_shares_have_moved() -> None:
    evidence, labels = shown(2000)
    model = LabelShiftAdapter()
    known(model, evidence)
    assert model.score(evidence.logits, labels) > (evidence.logits[:, 0].argmax(axis=1) == labels).mean() + 0.05


def test_names_as_labels() -> None:
    evidence, _ = shown()
    assert evidence.source is not None
    names = np.array([f"class {number}" for number in range(CLASSES)])
    model = LabelShiftAdapter("em_bcts").fit(evidence.source.logits, names[evidence.source.labels], **KNOWN)
    plain = LabelShiftAdapter("em_bcts").fit(evidence.source.logits, evidence.source.labels, **KNOWN)
    assert (model.classes_ == names).all()
    np.testing.assert_array_equal(model.predict(evidence.logits), names[plain.predict(evidence.logits)])


def test_parameters_clones_and_pickles(tmp_path: Path) -> None:
    evidence, _ = shown()
    model = LabelShiftAdapter("eb_em:rule=best", seed=3)
    assert model.get_params() == {"adapter": "eb_em:rule=best", "seed": 3}
    with pytest.raises(NotFittedError):
        model.predict(evidence.logits)
    known(model, evidence)
    with pytest.raises(NotFittedError):
        clone(model).predict(evidence.logits)
    joblib.dump(model, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(again.predict_proba(evidence.logits), model.predict_proba(evidence.logits))
    assert clone(model).set_params(adapter="em").adapter == "em"


FEATURES = "gives features, as many as it likes; columns of logits are one a class, and others are refused"
EXPECTED = dict.fromkeys(
    (
        "check_estimators_overwrite_params",
        "check_estimators_fit_returns_self",
        "check_readonly_memmap_input",
        "check_n_features_in_after_fitting",
        "check_positive_only_tag_during_fit",
        "check_estimators_dtypes",
        "check_dtype_object",
        "check_pipeline_consistency",
        "check_estimators_nan_inf",
        "check_estimators_pickle",
        "check_classifiers_classes",
        "check_classifiers_train",
        "check_fit2d_1sample",
    ),
    FEATURES,
) | {"check_methods_subset_invariance": "adapts to the images of a call together: that is what it is for"}


def test_check_estimator() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(LabelShiftAdapter("em_bcts"), expected_failed_checks=EXPECTED, on_skip=None)
    told = {check["check_name"]: str(check["exception"]) for check in found if check["status"] == "xfail"}
    assert set(told) == set(EXPECTED)
    assert sum(check["status"] == "passed" for check in found) >= 35


def test_what_is_not_given_is_said() -> None:
    evidence, _ = shown()
    assert evidence.source is not None
    with pytest.warns(UserWarning, match="train_counts and expert_priors not given"):
        LabelShiftAdapter().fit(evidence.source.logits, evidence.source.labels)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"X": np.zeros((5, 1, 1))}, "logits"),
        ({"X": np.full((500, CLASSES), np.nan)}, "NaN"),
        ({"X": np.zeros((7, CLASSES))}, "7 logits and 500 labels"),
        ({"train_counts": np.zeros(CLASSES, int)}, "train_counts must be 10"),
        ({"train_counts": np.ones(3, int)}, "train_counts must be 10"),
        ({"expert_priors": np.ones((2, CLASSES)) / CLASSES}, "expert_priors must be"),
        ({"expert_priors": np.zeros(CLASSES)}, "prior"),
        ({"y": ["a", "b"] * 250}, "2 classes, logits 10 columns"),
    ],
)
def test_refused(changes: dict[str, object], words: str) -> None:
    evidence, _ = shown()
    assert evidence.source is not None
    given = {"X": evidence.source.logits, "y": evidence.source.labels, **KNOWN} | changes
    for kind in (LabelShiftAdapter, OnlineAdapter):
        with pytest.raises(ValueError, match=words):
            kind().fit(**given)  # type: ignore[arg-type]


def test_tensors_of_torch_are_arrays() -> None:
    evidence, _ = shown()
    assert evidence.source is not None
    logits, source = (torch.tensor(array).bfloat16() for array in (evidence.logits, evidence.source.logits))
    model = LabelShiftAdapter("em_bcts").fit(source.requires_grad_(), torch.tensor(evidence.source.labels), **KNOWN)
    rounded = LabelShiftAdapter("em_bcts").fit(source.detach().float().numpy(), evidence.source.labels, **KNOWN)
    np.testing.assert_array_equal(model.predict_proba(logits), rounded.predict_proba(logits.float().numpy()))


def test_columns_of_frames_keep_their_order() -> None:
    evidence, _ = shown()
    assert evidence.source is not None
    names = [f"class {number}" for number in range(CLASSES)]
    source = pandas.DataFrame(evidence.source.logits[:, 0], columns=names)
    labels = np.array(names)[evidence.source.labels]
    model = LabelShiftAdapter("em").fit(source, labels, **KNOWN)
    with pytest.raises(ValueError, match="same order"):
        model.predict(source[names[::-1]])
    for kind in (LabelShiftAdapter, OnlineAdapter):
        with pytest.raises(ValueError, match="columns stand in the order"):
            kind().fit(source[names[::-1]], labels, **KNOWN)


@pytest.mark.parametrize("number", [2e36, 1e300])
def test_numbers_that_are_too_large(number: float) -> None:
    """Without a warning of NumPy; a class that is masked by the lowest number is none of them."""
    evidence, _ = shown()
    model = LabelShiftAdapter("em")
    known(model, evidence)
    logits = evidence.logits.astype(np.float64)
    logits[:, 0, 3] = np.finfo(np.float64).min
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (model.predict(logits) != 3).all()
        logits[7, 0, 2] = number
        with pytest.raises(ValueError, match="beyond 1e"):
            model.predict(logits)


@pytest.mark.parametrize("adapter", [None, 3, adapters.get("em")])
def test_adapters_are_named(adapter: object) -> None:
    for kind in (LabelShiftAdapter, OnlineAdapter):
        with pytest.raises(BadInput, match="named by a text"):
            kind(adapter).fit(np.eye(2), [0, 1])  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:train_counts not given")
def test_what_cannot_work_is_said_by_fit() -> None:
    evidence, _ = shown()
    assert evidence.source is not None
    some = evidence.source.labels != 3
    logits, labels = evidence.source.logits[some], evidence.source.labels[some]
    for kind in (LabelShiftAdapter, OnlineAdapter):
        with pytest.raises(ValueError, match="no image of class 3"):
            kind().fit(logits, labels, **KNOWN)
        with pytest.raises(ValueError, match="no label is of class 3, so train_counts must be given"):
            kind().fit(logits, labels, expert_priors=UNIFORM)
    with pytest.raises(BadInput, match="seed must be a whole number"):
        LabelShiftAdapter(seed=None).fit(logits, labels, **KNOWN)  # type: ignore[arg-type]


def test_adapters_that_do_not_fit() -> None:
    evidence, _ = shown()
    for kind, name in ((LabelShiftAdapter, "stream_em"), (LabelShiftAdapter, "oracle_prior"), (OnlineAdapter, "em")):
        with pytest.raises(ValueError, match=name):
            known(kind(name), evidence)
    for name in ("em", "t3a", "stream_oracle"):
        with pytest.raises(ValueError, match=f"{name} does not answer step by step; these do: stream_"):
            known(OnlineAdapter(name), evidence)
    with pytest.raises(BadInput, match="allowed"):
        known(LabelShiftAdapter("emm"), evidence)
    model = LabelShiftAdapter()
    known(model, evidence)
    with pytest.raises(ValueError, match="2 experts and 10 classes, the source has 1 and 10"):
        model.predict(np.zeros((5, 2, CLASSES)))


# A stream


@pytest.mark.parametrize("name", STREAMS)
def test_steps_are_those_of_the_adapter(name: str) -> None:
    evidence, _ = shown()
    model = OnlineAdapter(f"{name}:batch=50")
    known(model, evidence)
    adapter = adapters.get(f"{name}:batch=50")
    assert isinstance(adapter, StreamAdapter)
    fitted = adapter.fit(evidence, COUNTS, PRIORS, 0)
    expected = softmax(fitted.predict(evidence).astype(np.float64), axis=1)
    found = [model.step(evidence.logits[start : start + 50]) for start in range(0, 400, 50)]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(model.prior, fitted.prior, rtol=1e-9)


def test_views_are_read_where_the_adapter_reads_them() -> None:
    rng = np.random.default_rng(0)
    logits, views = rng.normal(size=(64, 2, CLASSES)), rng.normal(size=(1, 2, 64, 2, CLASSES))
    model = OnlineAdapter("stream_sade")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(logits, np.arange(64) % CLASSES)
    with pytest.raises(ValueError, match="reads views"):
        model.step(logits)
    for wrong in (views[:0], views[:, :, :3], views * np.nan):
        with pytest.raises(ValueError, match="views must be finite and"):
            model.step(logits, wrong)
    evidence = Evidence(logits.astype(np.float32), views=views.astype(np.float32))
    adapter = adapters.get("stream_sade")
    assert isinstance(adapter, StreamAdapter)
    fitted = adapter.fit(evidence, COUNTS, ExpertPriors(np.tile(UNIFORM, (2, 1)), False), 0)
    found = model.step(logits, views)
    np.testing.assert_allclose(found, softmax(fitted.predict(evidence), axis=1), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", [*STREAMS, "stream_history:window=3", "stream_flh_ftl:most=4", "stream_rogd"])
def test_a_state_goes_on(name: str, tmp_path: Path) -> None:
    evidence, _ = shown()
    whole, first, second = (OnlineAdapter(name) for _ in range(3))
    for model in (whole, first, second):
        known(model, evidence)
    batches = np.split(evidence.logits, 8)
    expected = [whole.step(batch) for batch in batches]
    for batch in batches[:5]:
        first.step(batch)
    first.save(tmp_path / "state.safetensors")
    second.load(tmp_path / "state.safetensors")
    assert second.steps_ == 5
    for batch, answer in zip(batches[5:], expected[5:], strict=True):
        np.testing.assert_array_equal(second.step(batch), answer)


def test_states_of_others_are_refused(tmp_path: Path) -> None:
    evidence, _ = shown()
    model, other = OnlineAdapter("stream_em"), OnlineAdapter("stream_history")
    for one in (model, other):
        known(one, evidence)
    other.save(tmp_path / "state.safetensors")
    with pytest.raises(BadInput, match="no state of stream_em"):
        model.load(tmp_path / "state.safetensors")
    with pytest.raises(BadInput, match="no state"):
        model.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="another adapter or model"):
        model.restore({"counts": np.zeros(3), "steps": np.array(1)})


def test_a_state_is_of_an_adapter_with_its_options(tmp_path: Path) -> None:
    evidence, _ = shown()
    model, same, other = (OnlineAdapter(f"stream_em{more}") for more in ("", ":memory=1.0", ":memory=0.9"))
    for one in (model, same, other):
        known(one, evidence)
    model.step(evidence.logits)
    model.save(tmp_path / "state.safetensors")
    same.load(tmp_path / "state.safetensors")
    np.testing.assert_array_equal(same.prior, model.prior)
    with pytest.raises(BadInput, match=r"but of stream_em$"):
        other.load(tmp_path / "state.safetensors")


@pytest.mark.parametrize("harm", [lambda array: array * np.nan, lambda array: array.astype(str)])
@pytest.mark.parametrize("name", ["counts", "steps"])
def test_damaged_states_leave_what_was_known(name: str, harm: Callable[[np.ndarray], np.ndarray]) -> None:
    evidence, _ = shown()
    model = OnlineAdapter("stream_em")
    known(model, evidence)
    model.step(evidence.logits)
    before = model.state()
    with pytest.raises(ValueError, match=f"damaged: {name}"):
        model.restore(before | {name: harm(before[name])})
    for key, array in model.state().items():
        np.testing.assert_array_equal(array, before[key])


def test_what_is_done_to_an_answer_changes_nothing() -> None:
    """Shares may be those of a calibration that is kept for all that use the same source."""
    evidence, _ = shown()
    online, whole = OnlineAdapter("stream_history"), LabelShiftAdapter("choose")
    for model in (online, whole):
        known(model, evidence)
    for ask in (lambda: online.prior, lambda: whole.estimate_prior(evidence.logits)):
        before = ask().copy()
        ask()[:] = 0
        np.testing.assert_array_equal(ask(), before)


def test_nothing_before_fit(tmp_path: Path) -> None:
    model = OnlineAdapter()
    asks: list[Callable[[], object]] = [
        lambda: model.step(np.eye(3)),
        lambda: model.prior,
        model.state,
        lambda: model.restore({}),
        lambda: model.save(tmp_path / "a"),
    ]
    for ask in asks:
        with pytest.raises(ValueError, match="fit comes first"):
            ask()


def test_the_order_of_a_stream_is_that_of_its_steps() -> None:
    evidence, _ = shown()
    with pytest.raises(ValueError, match="leave out order"):
        known(OnlineAdapter("stream_em:order=drift"), evidence)


@pytest.mark.parametrize(
    "name", [STREAMS[0], *(pytest.param(name, marks=pytest.mark.exhaustive) for name in STREAMS[1:])]
)
def test_a_long_stream_takes_no_more_memory(name: str) -> None:
    """10,000 steps."""
    evidence, _ = shown()
    model = OnlineAdapter(name)
    known(model, evidence)
    batch = evidence.logits[:4]
    for _ in range(100):
        model.step(batch)
    size = sum(array.nbytes for array in model.state().values())
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(9_900):
        model.step(batch)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert model.steps_ == 10_000
    assert sum(array.nbytes for array in model.state().values()) == size
    assert after - before < 50_000
    assert model.prior.sum() == pytest.approx(1)


# The import


def test_importing_harness_loads_no_torch() -> None:
    code = "import sys, harness; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    code = "import sys; from harness import LabelShiftAdapter; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_both_say_what_they_take() -> None:
    for kind in (LabelShiftAdapter, OnlineAdapter):
        assert inspect.getdoc(kind)
        assert list(inspect.signature(kind.fit).parameters)[1:] == ["X", "y", "train_counts", "expert_priors"]
