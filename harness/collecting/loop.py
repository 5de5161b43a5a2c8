"""The loop: a model and loaders -> an evidence file, batch by batch, on the disk as it comes."""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from torch import Tensor, nn
from tqdm import tqdm

from harness.collecting.batches import Normalisation, Seen, Views, pixels, sample, seen, view_seed
from harness.collecting.models import AnyModel, fingerprint, named
from harness.collecting.parts import Parts
from harness.collecting.priors import Loss, checked_counts, for_experts, priors_of
from harness.evidence.arrays import EVIDENCE_VERSION
from harness.evidence.check import LARGEST, OPTIONAL, REQUIRED
from harness.passes.gather import forward
from harness.passes.layers import Inputs, Layer, classifiers, last_layers
from methods.core.batch import ExpertOutput
from methods.core.precision import Precision
from methods.core.priors import ExpertPriors
from shifts.common.errors import BadInput, WorkFailed, check_name
from shifts.common.files import digest

Stored = Literal["float32", "float16"]
LOWEST = {"float32": LARGEST, "float16": 6e4}
"""Logits below minus this are masked classes; they are stored as that."""
CLOSE = 1e-2
"""How far, of the logits' spread, classifiers of features may be from the logits, and no further."""


@dataclass
class Request:
    """One collection: `harness.collect.collect` says what each part is. Raises BadInput for what does not fit."""

    model: nn.Module
    train_counts: ArrayLike | None
    loss: Loss | None
    output: Path
    class_names: Sequence[str] | None = None
    views: int = 0
    mean: ArrayLike | None = None
    std: ArrayLike | None = None
    features: bool = False
    head: str | Sequence[str] | None = None
    precision: Precision = "fp32"
    stored: Stored = "float32"
    source_seen: int = 0
    order: Int[np.ndarray, " classes"] | None = None
    title: str = "evidence"
    more: dict[str, str] = field(default_factory=dict)
    """What else another request must not differ in to go on with this one's parts."""

    def __post_init__(self) -> None:
        if self.train_counts is None:
            raise BadInput("train_counts is needed: the number of training images of each class, in the model's order")
        if not isinstance(self.model, nn.Module):
            raise BadInput(f"model is {type(self.model).__name__}, not a torch.nn.Module")
        check_name("precision", self.precision, ("fp32", "bf16"))
        check_name("type to store", self.stored, tuple(LOWEST))
        self.counts = checked_counts(self.train_counts)
        self.priors = priors_of(self.loss, self.counts)
        self.normalisation = Normalisation.of(self.mean, self.std)
        if self.views and self.normalisation is None:
            raise BadInput("views need images in 0..1 and the model's normalisation: give mean and std")
        if self.class_names is not None and len(self.class_names) != len(self.counts):
            raise BadInput(f"class_names has {len(self.class_names)} names, train_counts {len(self.counts)} classes")
        self.network = AnyModel(self.model, self.order)

    @property
    def digest(self) -> str:
        """The SHA-256 of `asked`, which the finished file has as `collected`."""
        return digest(self.asked)

    @cached_property
    def asked(self) -> dict[str, str]:
        """What parts of this collection depend on, by name."""
        return self.more | {
            "model": fingerprint(self.model),
            "train_counts": digest(self.counts.tolist()),
            "loss": digest(self.priors.values.tolist()),
            "class_names": digest(None if self.class_names is None else list(self.class_names)),
            "class order": digest(None if self.order is None else self.order.tolist()),
            "views": str(self.views),
            "normalisation": repr(self.normalisation),
            "features": repr(self.features and (self.head or True)),
            "precision": self.precision,
            "stored type": self.stored,
            "version": str(EVIDENCE_VERSION),
        }


def run(
    request: Request, test: Iterable[Any], source: Iterable[Any] | None = None, ids: Sequence[str] | None = None
) -> Path:
    """Pass all images through the model and write the evidence file; goes on where a stopped run was.

    Raises BadInput and WorkFailed as `harness.collect.collect`.
    """
    training = request.model.training
    request.model.eval()
    try:
        with Parts(request.output, request.asked) as parts:
            stage = Stage(request, parts, "test")
            stage.pass_all(test, ids)
            if source is not None:
                Stage(request, parts, "source").pass_all(source)
            _join(request, parts)
    finally:
        request.model.train(training)
        if request.network.inputs is not None:
            request.network.inputs.close()
    return request.output


class Stage:
    """The images of one loader, `test` or `source`, on their way into the parts."""

    def __init__(self, request: Request, parts: Parts, name: str) -> None:
        self.request = request
        self.parts = parts
        self.name = name
        self.prefix = "" if name == "test" else "source_"
        notes = parts.progress(name)
        self.images: int = notes.get("images", 0)
        self.before: str = notes.get("seen", "")
        self.done: bool = notes.get("done", False)
        self.hash = hashlib.sha256()
        self.views = Views()

    def pass_all(self, loader: Iterable[Any], ids: Sequence[str] | None = None) -> None:
        """Pass what is left of a loader's images through the model. Raises BadInput and WorkFailed."""
        if self.done:
            return
        with _progress(f"{self.request.title} {self.name}", loader, self.images) as bar:
            for start, batch in self._left(loader):
                self._pass(start, batch, ids)
                bar.update(len(batch.images))
        if not self.images:
            raise BadInput(f"{self.name} has no images")
        if ids is not None and len(ids) != self.images:
            raise BadInput(f"ids has {len(ids)} names for {self.images} images")
        self.parts.advance(self.name, {}, self._notes(done=True))

    def _left(self, loader: Iterable[Any]) -> Iterator[tuple[int, Seen]]:
        """Yield (place of the first image, batch) of the images that are not stored yet.

        Raises BadInput where the ones that are stored are not those that the loader begins with.
        """
        at, stored = 0, self.images
        for given in loader:
            batch = seen(given)
            skipped = min(len(batch.images), max(0, stored - at))
            if skipped:
                self.hash.update(sample(batch.images[:skipped]))
            at += skipped
            if stored and at == stored and skipped and self.hash.hexdigest() != self.before:
                break
            if skipped < len(batch.images):
                yield at, _from(batch, skipped)
                at += len(batch.images) - skipped
        else:
            if at >= stored:
                return
        raise BadInput(
            f"{self.name} does not begin with the {stored:,} images that {self.parts.folder} holds: loaders must give "
            "the same images in the same order (no shuffling), or delete that folder"
        )

    def _pass(self, start: int, batch: Seen, ids: Sequence[str] | None) -> None:
        request = self.request
        clean, views = self._inputs(batch.images, start)
        self._watch(clean)
        logits, *paired = forward(request.network, chain([clean], views), request.precision)
        rows = {f"{self.prefix}logits": self._stored(logits.logits, start)}
        self._check_labels(batch, start)
        for number, view in enumerate(paired):
            rows[f"views-{number // 2}-{number % 2}"] = self._stored(view.logits, start)
        if request.features and self.name == "test":
            with np.errstate(over="ignore"):
                features = logits.features.cpu().numpy().astype(request.stored)
            rows["features"] = self._check_finite(features, start, f"features as {request.stored}")
        if batch.labels is not None:
            rows[f"{self.prefix}labels"] = batch.labels
        names = batch.ids if ids is None else [str(name) for name in ids[start : start + len(batch.images)]]
        if self.name == "test" and names is not None:
            rows["ids"] = _lines(names, first=not start)
        self.hash.update(sample(batch.images))
        self.images += len(batch.images)
        try:
            self.parts.advance(self.name, rows, self._notes())
        except ValueError as error:
            raise WorkFailed(f"{self.name}, image {start}: {error}") from error

    def _notes(self, done: bool = False) -> dict[str, Any]:
        return {"images": self.images, "seen": self.hash.hexdigest(), "done": done}

    def _check_labels(self, batch: Seen, start: int) -> None:
        classes = len(self.request.counts)
        wanted = self.name == "source" or (self.parts.has("labels") if start else batch.labels is not None)
        if (batch.labels is not None) != wanted:
            said = "no labels" if batch.labels is None else "labels, which the images before it have not"
            raise BadInput(f"{self.name}: the batch at image {start} has {said}")
        if batch.labels is None or not len(batch.labels):
            return
        low, high = batch.labels.min(), batch.labels.max()
        if low < 0 or high >= classes:
            raise BadInput(f"{self.name}: labels must lie in 0..{classes - 1}, found {low}..{high}")

    def _inputs(self, images: Tensor, start: int) -> tuple[Tensor, Iterator[Tensor]]:
        """Return a batch as the model is to see it, and its views, of the test images only."""
        network, normalise = self.request.network, self.request.normalisation
        device, dtype = network.device, network.dtype
        if normalise is None:
            if images.dtype == torch.uint8:
                raise BadInput("images are bytes: give mean and std of pixels in 0..1, or normalised images")
            return images.to(device, dtype if images.is_floating_point() else None), iter(())
        values = pixels(images.to(device))
        pairs = self.request.views if self.name == "test" else 0

        def views() -> Iterator[Tensor]:
            whole = (values * 255).round().to(torch.uint8)
            for pair in range(pairs):
                for view in range(2):
                    yield normalise(self.views.of(whole, start, view_seed(pair, view))).to(dtype)

        return normalise(values).to(dtype), views()

    def _watch(self, images: Tensor) -> None:
        """Find the last layers at the first batch and keep them, where features are asked for."""
        request, network = self.request, self.request.network
        if not request.features or self.name != "test" or network.inputs is not None:
            return
        if request.head is None:
            layers = last_layers(network, images, request.order)
            if layers is None:
                raise BadInput("features: the logits are not what linear layers give; name the last one with head")
        else:
            layers = [Layer(module) for module in named(request.model, request.head)]
        network.inputs = Inputs([layer.module for layer in layers])
        (output,) = forward(network, iter([images]), "fp32")
        if len(layers) != output.logits.shape[1]:
            raise BadInput(f"head names {len(layers)} modules; the model has {output.logits.shape[1]} experts")
        made = classifiers(layers, request.order)
        if made is not None and _gives(made.logits(output.features.cpu().numpy()), output):
            for name, array in {"classifiers": made.weights, "classifier_biases": made.biases}.items():
                if array is not None:
                    self.parts.keep(name, array)
            if made.scale is not None:
                self.parts.keep("classifier_scale", np.array([made.scale]))
        else:
            print("note: the logits are not what head gives by itself; features go without it", file=sys.stderr)

    def _stored(self, logits: Float[Tensor, "batch experts classes"], start: int) -> np.ndarray:
        _, experts, classes = logits.shape
        if classes != len(self.request.counts):
            raise BadInput(f"the model gives {classes} classes, train_counts has {len(self.request.counts)}")
        for_experts(self.request.priors, experts)
        bound = LOWEST[self.request.stored]
        array = self._check_finite(logits.cpu().numpy(), start, "logits")
        if (array > bound).any():
            raise WorkFailed(f"{self.name}: logits up to {array.max():.3g} do not fit into {self.request.stored}")
        return np.maximum(array, np.float32(-bound)).astype(self.request.stored)

    def _check_finite(self, array: np.ndarray, start: int, what: str) -> np.ndarray:
        finite = np.isfinite(array)
        if not finite.all():
            image = start + int(np.argmin(finite.reshape(len(array), -1).all(1)))
            hint = "; a class that is masked has a large negative number, such as -1e9" if what == "logits" else ""
            raise WorkFailed(f"{self.name}: {what} of image {image} are NaN or infinite{hint}")
        return array


def _from(batch: Seen, place: int) -> Seen:
    if not place:
        return batch
    labels = None if batch.labels is None else batch.labels[place:]
    return Seen(batch.images[place:], labels, None if batch.ids is None else batch.ids[place:])


def _gives(made: Float[np.ndarray, "batch experts classes"], output: ExpertOutput) -> bool:
    """Return whether logits that classifiers make are the model's."""
    wanted = output.logits.cpu().numpy()
    return bool(np.abs(made - wanted).max() <= CLOSE * max(float(wanted.std()), 1e-6))


def _lines(names: Sequence[str], first: bool) -> np.ndarray:
    for name in names:
        if "\n" in name:
            raise BadInput(f"the name {name!r} of an image has a line break")
    text = ("" if first else "\n") + "\n".join(names)
    return np.frombuffer(text.encode("utf-8", "backslashreplace"), np.uint8)


def _progress(title: str, loader: Iterable[Any], initial: int) -> "tqdm[Any]":
    images: Any = getattr(loader, "dataset", None)
    total = len(images) if hasattr(images, "__len__") else None
    return tqdm(total=total, initial=initial, desc=title, unit="img", delay=2, leave=False, disable=None)


def _join(request: Request, parts: Parts) -> None:
    """Make the evidence file of the parts. Raises BadInput where the priors are for another number of experts."""
    images, (experts, classes) = parts.count("logits"), parts.row("logits")
    priors: ExpertPriors = for_experts(request.priors, experts)
    parts.keep("train_counts", request.counts)
    parts.keep("expert_priors", priors.values)
    files: dict[str, tuple[list[str], list[int]]] = {
        name: ([name], [parts.count(name), *parts.row(name)]) for name in (*REQUIRED, *OPTIONAL) if parts.has(name)
    }
    if request.views:
        names = [f"views-{pair}-{view}" for pair in range(request.views) for view in range(2)]
        files["views"] = names, [request.views, 2, images, experts, classes]
    metadata = {"target_prior_kind": priors.kind, "collected": request.digest, "model": request.asked["model"]}
    if request.class_names is not None:
        metadata["class_names"] = json.dumps([str(name) for name in request.class_names])
    if parts.has("source_logits"):
        if not 0 <= request.source_seen <= parts.count("source_logits"):
            raise BadInput(f"source_seen is {request.source_seen}, of {parts.count('source_logits')} source images")
        metadata["source_seen"] = str(request.source_seen)
    if parts.has("classifier_scale"):
        metadata["classifier_scale"] = repr(float(parts.read("classifier_scale")[0]))
    parts.join(files, metadata)
