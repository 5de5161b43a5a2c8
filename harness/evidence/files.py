"""Evidence: what a frozen model says of the whole test pool, computed once and cached by hash, or read from a file.

One safetensors file holds expert logits of the clean images, of K pairs of random views, and of labelled source
images, with the test labels, train counts and expert priors. A stranger's file has the same form, which
`save_evidence` describes and writes. Labels go to the protocol, which draws and measures; adapters get an `Evidence`,
which has none.
"""

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError

from harness.evidence import tensors
from harness.evidence.arrays import Evidence, PoolEvidence, Source, UnlabelledEvidence, of_torch
from harness.evidence.check import ARRAYS, LABELS, LARGEST, Checker, with_experts
from harness.evidence.heads import Classifiers, PreferenceHeads
from methods.core.priors import ExpertPriors, target_prior
from shifts.common.errors import BadInput
from shifts.common.files import write_tensors

Numbers = Any
"""A NumPy array, a tensor of torch on any device, or nested lists of numbers."""


def save_evidence(
    path: str | Path,
    *,
    logits: Numbers,
    labels: Numbers | None = None,
    train_counts: Numbers,
    expert_priors: Numbers,
    class_names: Sequence[str] | None = None,
    target_prior_kind: str = "approximate",
    source_logits: Numbers | None = None,
    source_labels: Numbers | None = None,
    source_seen: int = 0,
    views: Numbers | None = None,
    features: Numbers | None = None,
    view_features: Numbers | None = None,
    gate_logits: Numbers | None = None,
    preferences: Numbers | None = None,
    heads: Numbers | None = None,
    head_scale: float | None = None,
    preference_priors: Numbers | None = None,
    agreement: Numbers | None = None,
    classifiers: Numbers | None = None,
    classifier_biases: Numbers | None = None,
    classifier_scale: float | None = None,
    ids: Sequence[str] | None = None,
) -> None:
    """Write the evidence of your own model, for `python -m harness.run --evidence FILE` and `harness.apply FILE`.

    N test images, M source images, E experts, C classes, K view pairs, D features, P preferences. Numbers are NumPy
    arrays, torch tensors on any device, or lists, however they lie in memory. Floating point is 16 (also bfloat16), 32
    or 64 bits wide and at most 1e36; integers have any width. Logits are natural logarithms up to a constant an image;
    a class that is masked has a large negative one, such as -1e9. A model without experts has E = 1, and may leave
    that axis out of everything: logits [N, C].

    key                shape          type      what it is, and which adapters need it
    logits             N, E, C        floating  of the test pool; needed
    labels             N              integer   classes 0..C-1 of the test pool, each at least once; needed for draws
                                                and accuracies (harness.run), not to adapt to the images (harness.apply)
    train_counts       C              integer   training images of each class, at least 1; needed
    expert_priors      E, C           floating  label prior that an expert's softmax answers for, sums to one: shares of
                                                train_counts after cross-entropy, 1/C after a balanced loss; needed
    class_names        C              text      for shifts and reports by name; otherwise 0, 1, ...
    target_prior_kind                 text      `exact` where expert_priors follow from the losses, or `approximate`
    source_logits      M, E, C        floating  of labelled images outside the test pool, best not trained on and as
                                                many of each class: calibrated, em_bcts, eb_em, bbse, rlls and others
    source_labels      M              integer   their classes 0..C-1; needed beside source_logits
    source_seen                       integer   how many of them were trained on
    views              K, 2, N, E, C  floating  logits of K pairs of random views of each test image: sade
    gate_logits        N, E-1         floating  RIDE's gates: routed
    features           N, E, D        floating  what the heads classify: preference, preference_em
    view_features      K, 2, N, E, D  floating  the same of the views: preference
    preferences        P, E           floating  over the experts, each sums to one: preference, preference_em
    heads              P, E, D, C     floating  cosine classifiers at each preference: preference, preference_em
    head_scale                        number    what their cosines are multiplied with; needed beside heads
    preference_priors  P, C           floating  what each preference answers for; otherwise the product of
                                                expert_priors to the powers of the preference, scaled
    agreement          N, P           floating  of the views at each preference; otherwise computed where needed
    classifiers        E, D, C        floating  what turns features into logits: adapters that move the last layer
    classifier_biases  E, C           floating  what is added
    classifier_scale                  number    where the classifiers are cosine ones: what cosines are multiplied with
    ids                N              text      a name of each image, such as its file's, without line breaks

    The file is complete or absent. Raises BadInput that names the key where reading would, and OSError.
    """
    path = Path(path)
    given = {
        "logits": logits,
        "labels": labels,
        "train_counts": train_counts,
        "expert_priors": expert_priors,
        "source_logits": source_logits,
        "source_labels": source_labels,
        "views": views,
        "features": features,
        "view_features": view_features,
        "gate_logits": gate_logits,
        "preferences": preferences,
        "heads": heads,
        "preference_priors": preference_priors,
        "agreement": agreement,
        "classifiers": classifiers,
        "classifier_biases": classifier_biases,
    }
    arrays = {name: _array(path, name, numbers) for name, numbers in given.items() if numbers is not None}
    arrays = with_experts(arrays)
    metadata = {"target_prior_kind": str(target_prior_kind)}
    if class_names is not None:
        metadata["class_names"] = json.dumps([str(name) for name in class_names])
    if source_seen or source_logits is not None:
        metadata["source_seen"] = str(source_seen)
    if head_scale is not None:
        metadata["head_scale"] = repr(float(head_scale))
    if classifier_scale is not None:
        metadata["classifier_scale"] = repr(float(classifier_scale))
    if ids is not None:
        arrays["ids"] = lines(path, ids)
    if LABELS in arrays:
        _pool_of(path, arrays, metadata)
    else:
        _unlabelled_of(path, arrays, metadata)
    write_tensors(path, arrays, metadata)


def save(
    path: Path,
    pool: PoolEvidence | UnlabelledEvidence,
    *,
    half: Container[str] = (),
    ids: Sequence[str] | None = None,
) -> None:
    """Write evidence, complete or not at all; `half` are stored as float16, `ids` are the images' names."""
    evidence = pool.evidence
    arrays = {
        "logits": evidence.logits,
        "train_counts": pool.train_counts,
        "expert_priors": pool.expert_priors.values,
    }
    if isinstance(pool, PoolEvidence):
        arrays[LABELS] = pool.labels
    if ids is not None:
        arrays["ids"] = lines(path, ids)
    for name in ARRAYS:
        if (array := getattr(evidence, name)) is not None:
            arrays[name] = array.astype(np.float16) if name in half else array
    metadata = dict(pool.metadata)
    if evidence.source is not None:
        arrays |= {"source_logits": evidence.source.logits, "source_labels": evidence.source.labels}
        metadata["source_seen"] = str(evidence.source.seen)
    if evidence.head is not None:
        head = evidence.head
        arrays |= {"preferences": head.points, "heads": head.weights, "preference_priors": head.priors}
        metadata["head_scale"] = repr(float(head.scale))
    if evidence.classifiers is not None:
        last = evidence.classifiers
        arrays |= {"classifiers": last.weights} | ({} if last.biases is None else {"classifier_biases": last.biases})
        metadata |= {} if last.scale is None else {"classifier_scale": repr(float(last.scale))}
    metadata |= {"class_names": json.dumps(pool.class_names), "target_prior_kind": pool.expert_priors.kind}
    write_tensors(path, arrays, metadata)


def load(path: Path) -> PoolEvidence:
    """Read and check an evidence file with labels, ours or a stranger's.

    Raises BadInput, naming the file and the key: missing or truncated file, missing or unknown keys, types and shapes
    that do not fit, labels out of range, classes without a train or test image, values that are not finite. Of a file
    without labels the message says what can be asked of it.
    """
    return _pool_of(path, *_read(path))


def load_unlabelled(path: Path) -> UnlabelledEvidence:
    """Read and check an evidence file with or without labels, which are checked and not given out.

    Logits of 16 or 32 bits are not loaded: they are read from the file when they are looked at. Raises BadInput as
    `load`, but neither for a file without labels nor for classes that no image has.
    """
    return _unlabelled_of(path, *_read(path, mapped=("logits",)))


def lines(path: Path, names: Sequence[str]) -> np.ndarray:
    """Return names as the array `ids` of an evidence file. Raises BadInput for a name with a line break."""
    names = [str(name) for name in names]
    for place, name in enumerate(names):
        if "\n" in name:
            raise BadInput(f"evidence file {path}: ids have a line break, first at {place}")
    return np.frombuffer("\n".join(names).encode("utf-8", "replace"), np.uint8)


def _read(path: Path, mapped: Container[str] = ()) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read the arrays of a file, each with its axis of experts, and its text; `mapped` are not loaded.

    Raises BadInput.
    """
    if not path.is_file():
        raise BadInput(f"evidence file {path} {'is no file' if path.exists() else 'does not exist'}")
    try:
        arrays, metadata = tensors.read(path, mapped)
    except SafetensorError as error:
        raise BadInput(f"evidence file {path}: truncated or not a safetensors file ({error})") from error
    except TypeError as error:
        raise BadInput(f"evidence file {path}: {error}") from error
    except OSError as error:
        raise BadInput(f"evidence file {path} cannot be read: {error.strerror or error}") from error
    return with_experts(arrays), metadata


def _pool_of(path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> PoolEvidence:
    """Check the arrays of a file and make them what adapters and protocol take. Raises BadInput as `load`."""
    read = _unlabelled_of(path, arrays, metadata)
    check = Checker(path, arrays, metadata)
    if LABELS not in arrays:
        raise check.fail(
            f"has no labels: `python -m harness.apply {path}` adapts to its images; shifts and accuracies need labels"
        )
    classes = len(read.train_counts)
    labels = arrays[LABELS].astype(np.int64)
    if len(np.unique(labels)) < classes:
        missing = np.setdiff1d(np.arange(classes), labels)
        raise check.fail(f"labels have no image of class {missing[0]} of 0..{classes - 1}")
    return PoolEvidence(read.evidence, labels, read.train_counts, read.expert_priors, read.class_names, metadata)


def _unlabelled_of(path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> UnlabelledEvidence:
    """Check all but the labels of a file and make it what adapters take. Raises BadInput as `load_unlabelled`."""
    check = Checker(path, arrays, metadata)
    check.keys()
    images, experts, classes = check.floats("logits", (None, None, None))
    if LABELS in arrays:
        check.integers(LABELS, images, classes)
    counts = check.counts(classes)
    check.floats("expert_priors", (experts, classes))
    if "views" in arrays:
        check.floats("views", (None, 2, images, experts, classes))
    points, dim = check.heads(experts, classes)
    last = check.classifiers(experts, classes)
    if None not in (dim, last) and dim != last:
        raise check.fail(f"classifiers are for features of {last} numbers, heads for {dim}")
    dim = last if dim is None else dim
    if "features" in arrays:
        *_, dim = check.floats("features", (images, experts, dim))
    if "view_features" in arrays:
        check.floats("view_features", (None, 2, images, experts, dim))
    if "agreement" in arrays:
        check.floats("agreement", (images, points))
    if "gate_logits" in arrays:
        check.floats("gate_logits", (images, experts - 1))
    source = None
    if "source_logits" in arrays or "source_labels" in arrays:
        size, _, _ = check.floats("source_logits", (None, experts, classes))
        check.integers("source_labels", size, classes)
        source = Source(_logits(arrays["source_logits"]), arrays["source_labels"].astype(np.int64), check.seen(size))
    names = check.class_names(classes)
    try:
        priors = ExpertPriors(arrays["expert_priors"].astype(np.float64), check.kind() == "exact")
    except ValueError as error:
        raise check.fail(f"expert_priors: {error}") from error
    try:
        head = None if points is None else _head(arrays, check.scale(), priors)
        classifiers = None if last is None else _classifiers(arrays, check.classifier_scale())
    except ValueError as error:
        raise check.fail(str(error)) from error
    parts = {name: _float32(arrays[name]) if name in arrays else None for name in ARRAYS}
    if "views" in arrays:
        parts["views"] = _logits(arrays["views"])
    evidence = Evidence(_kept(arrays["logits"]), source=source, head=head, classifiers=classifiers, **parts)
    return UnlabelledEvidence(evidence, counts, priors, names, metadata, check.ids(images))


def _head(arrays: Mapping[str, np.ndarray], scale: float, priors: ExpertPriors) -> PreferenceHeads:
    """Return the preference heads of a file's arrays.

    Raises ValueError for preferences or priors off the simplex and a scale that is not positive and finite.
    """
    points = arrays["preferences"].astype(np.float64)
    given = arrays.get("preference_priors")
    wanted = [target_prior(priors, point) for point in points] if given is None else given
    return PreferenceHeads(points, _float32(arrays["heads"]), scale, np.asarray(wanted, dtype=np.float64))


def _classifiers(arrays: Mapping[str, np.ndarray], scale: float | None) -> Classifiers:
    """Return the classifiers of a file's arrays. Raises ValueError for a scale that is not positive and finite."""
    biases = arrays.get("classifier_biases")
    return Classifiers(_float32(arrays["classifiers"]), None if biases is None else _float32(biases), scale)


def _float32(array: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    with np.errstate(over="ignore"):  # of float64 that masks a class, lower than any float32
        return np.ascontiguousarray(array, dtype=np.float32)


def _logits(array: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return logits as float32.

    A class that is masked by the lowest number there is gets one that can be calculated with.
    """
    made = _float32(array)
    return np.maximum(made, np.float32(-LARGEST)) if (made < -LARGEST).any() else made


def _kept(logits: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return logits as they lie in a file, or as `_logits` where that is not possible."""
    if logits.flags.writeable or not (logits.dtype == np.float16 or logits.dtype == np.float32):
        return _logits(logits)
    return logits if logits.dtype == np.float16 or logits.min() >= -LARGEST else _logits(logits)


def _array(path: Path, name: str, numbers: Numbers) -> np.ndarray:
    """Return numbers as an array in the byte order of this machine.

    Raises BadInput, naming the key, where they are none.
    """
    try:
        if isinstance(numbers, list | tuple) and any(hasattr(part, "detach") for part in numbers):
            numbers = np.stack([of_torch(part) for part in numbers])
        array = np.asarray(of_torch(numbers))
        # JAX and TensorFlow have a bfloat16 of their own.
        array = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"evidence file {path}: {name} is no array of numbers ({error})") from error
