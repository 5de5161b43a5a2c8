"""What `python -m harness.collect` does: the model, its classes, the images; the file, and what it is good for."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from harness.collecting import own
from harness.collecting.foreign import Foreign, in_order, of_timm, of_transformers
from harness.collecting.images import Pictures, folder, loader, name_of
from harness.collecting.loop import Request, Stored, run
from harness.collecting.priors import LOSSES, Loss
from harness.evidence import tensors
from harness.show.text import counted
from methods.core.precision import Precision
from methods.jobs.request import chosen_device
from methods.pixels.streaming import worker_count
from shifts.checks.checkup import checked
from shifts.common.errors import BadInput
from shifts.images.catalog import Dataset
from shifts.images.imageset import ImageSet
from shifts.sets.request import DataRequest
from shifts.sets.source import source_images
from shifts.sets.training import TrainingSet

BATCH = {"cpu": 32, "cuda": 256}
"""Images in a forward pass, where nothing is asked for."""


@dataclass(frozen=True)
class CollectRequest:
    """One evidence file; the options of the same names say what each field is."""

    data: DataRequest = DataRequest()
    images: Path | None = None
    timm: str | None = None
    transformers: str | None = None
    checkpoint: Path | None = None
    weights: Path | None = None
    class_names: str | None = None
    train_counts: str | None = None
    loss: tuple[str, ...] = ()
    no_source: bool = False
    views: int = 0
    features: bool = False
    head: tuple[str, ...] = ()
    precision: Precision = "fp32"
    stored: Stored = "float32"
    batch: int | None = None
    decoders: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    output: Path = Path()

    def work(self) -> str:
        """Write the file; returns what it holds and is good for, as text. Raises BadInput and WorkFailed."""
        self._check()
        dataset = checked(self.data.load()) if self.data.dataset else None
        training = None if dataset is None else self.data.training_set(dataset)
        pictures = None if self.images is None else folder(self.images)
        if self.checkpoint is not None:
            assert dataset is not None
            assert training is not None
            self._own(dataset, training, pictures)
        else:
            self._foreign(dataset, training, pictures)
        return summary(self.output)

    def _check(self) -> None:
        """Raise BadInput, before anything is read, for what is missing or does not go together."""
        named = [name for name in ("timm", "transformers", "checkpoint") if getattr(self, name) is not None]
        if len(named) != 1:
            raise BadInput("name one model: --timm NAME, --transformers NAME or --checkpoint FILE")
        if not self.data.dataset and self.checkpoint is not None:
            raise BadInput("--checkpoint needs the data that it was trained on: --dataset NAME")
        if not self.data.dataset and self.images is None:
            raise BadInput("name the images: --dataset NAME, or --images FOLDER for images that nobody has labelled")
        if self.output == Path():
            raise BadInput("--output FILE is needed")
        if self.checkpoint is not None:
            for name in ("weights", "class_names", "train_counts", "loss", "head", "no_source"):
                if getattr(self, name):
                    raise BadInput(f"--{name.replace('_', '-')} is known of a checkpoint of ours; leave it out")
            return
        if not self.loss:
            raise BadInput(
                f"--loss is needed: which loss trained the model? one of {', '.join(LOSSES)} (one, or one an expert), "
                "or a JSON file with the label prior that each expert answers for"
            )
        if self.train_counts is None:
            raise BadInput(
                "--train-counts is needed: a JSON file with the number of training images of each class, or `dataset` "
                "for those of the training set that the data options name"
            )
        if "dataset" in (self.train_counts, self.class_names) and not self.data.dataset:
            raise BadInput("--train-counts dataset and --class-names dataset need --dataset NAME")

    def _own(self, dataset: Dataset, training: TrainingSet, pictures: ImageSet | None) -> None:
        assert self.checkpoint is not None
        job = own.job_of(self.checkpoint, dataset, training)
        own.collect(
            job,
            self.checkpoint,
            chosen_device(self.device),
            self.output,
            test=pictures,
            ids=_names(dataset.test if pictures is None else pictures),
            views=self.views,
            precision=self.precision,
            features=self.features,
        )

    def _foreign(self, dataset: Dataset | None, training: TrainingSet | None, pictures: ImageSet | None) -> None:
        if dataset is not None and dataset.task == "multi_label":
            raise BadInput(f"{dataset.name} has label sets; evidence is of images with one label each")
        device = chosen_device(self.device)
        foreign = self._model()
        names, order = self._classes(foreign, dataset)
        counts = _counts(self.train_counts, names, training)
        shown = dataset.test if pictures is None and dataset is not None else pictures
        assert shown is not None
        test = Pictures(shown, foreign.transform, labelled=pictures is None)
        source, seen = self._source(foreign, dataset, training)
        request = Request(
            model=foreign.model.to(device),
            train_counts=counts,
            loss=_loss(self.loss),
            output=self.output,
            class_names=names,
            views=self.views,
            mean=foreign.mean,
            std=foreign.std,
            features=self.features,
            head=self.head or None,
            precision=self.precision,
            stored=self.stored,
            source_seen=seen,
            order=order,
            more={"images": test.fingerprint, "source images": "none" if source is None else source.fingerprint},
        )
        if (tensors.metadata(self.output) or {}).get("collected") == request.digest:
            print(f"note: {self.output} is complete", file=sys.stderr)
            return
        batch = self.batch or BATCH[device.type]
        workers = worker_count() if self.decoders is None else self.decoders
        loaded = partial(loader, batch=batch, workers=workers, pinned=device.type == "cuda")
        run(request, loaded(test), None if source is None else loaded(source))

    def _model(self) -> Foreign:
        if self.timm is not None:
            return of_timm(self.timm, self.weights)
        assert self.transformers is not None
        return of_transformers(self.transformers, self.weights)

    def _classes(
        self, foreign: Foreign, dataset: Dataset | None
    ) -> tuple[tuple[str, ...], Int[np.ndarray, " classes"] | None]:
        """Return the classes of the file in order, and which output of the model each is (None: they are in order)."""
        told = foreign.class_names
        if self.class_names is not None and self.class_names != "dataset":
            told = (read_names(Path(self.class_names)),)
        if dataset is None:
            if not told:
                raise BadInput("--class-names FILE is needed: the model does not say what its outputs are")
            return told[-1], None
        if self.class_names == "dataset":
            return dataset.class_names, None
        if not told:
            raise BadInput(
                "--class-names is needed, for the model does not say what its outputs are: FILE with their names in "
                f"order, or `dataset` if they are the classes of {dataset.name} in its order"
            )
        return dataset.class_names, np.array(in_order(told, dataset.class_names, dataset.name))

    def _source(
        self, foreign: Foreign, dataset: Dataset | None, training: TrainingSet | None
    ) -> tuple[Pictures | None, int]:
        """Return labelled source images and how many of them the model was trained on.

        Which training images it saw is known where its train counts are the dataset's; otherwise the validation split
        serves, if there is one.
        """
        if self.no_source or dataset is None or training is None:
            return None, 0
        if self.train_counts == "dataset":
            found = source_images(dataset, training)
            return Pictures(found.pool, foreign.transform, found.indices, labelled=True), found.seen
        if dataset.validation is None:
            return None, 0
        return Pictures(dataset.validation, foreign.transform, labelled=True), 0


def read_names(path: Path) -> tuple[str, ...]:
    """Read two class names or more, in order: a JSON list, or text with one a line. Raises BadInput."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--class-names {path} cannot be read: {error}") from error
    names = _json(text)
    if names is None:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f"--class-names {path} is neither a JSON list of names nor text with one a line")
    if len(names) < 2 or len(set(names)) < len(names):
        raise BadInput(f"--class-names {path} needs two names or more, each once")
    return tuple(names)


def _counts(given: str | None, names: Sequence[str], training: TrainingSet | None) -> Any:
    """Return train counts in the order of `names`. Raises BadInput."""
    assert given is not None
    if given == "dataset":
        assert training is not None
        return training.counts
    content = _read_json("--train-counts", Path(given))
    if isinstance(content, dict):
        odd = sorted(content.keys() ^ set(names))
        if odd:
            raise BadInput(f"--train-counts {given}: {len(odd)} names differ from the classes, first {odd[0]!r}")
        content = [content[name] for name in names]
    if not isinstance(content, list) or len(content) != len(names):
        raise BadInput(f"--train-counts {given} must hold {len(names)} numbers, in a list or by class name")
    return content


def _loss(given: Sequence[str]) -> Loss:
    """Return the loss or losses, or the priors that a JSON file holds."""
    if len(given) == 1 and given[0].endswith(".json"):
        content: Loss = _read_json("--loss", Path(given[0]))
        return np.asarray(content, dtype=np.float64) if isinstance(content, list) else content
    return given[0] if len(given) == 1 else list(given)


def _read_json(option: str, path: Path) -> Any:
    try:
        content = _json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{option} {path} cannot be read: {error}") from error
    if content is None:
        raise BadInput(f"{option} {path} is not JSON")
    return content


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _names(images: ImageSet) -> list[str]:
    return [name_of(images, index) for index in range(len(images))]


def summary(path: Path) -> str:
    """Return what an evidence file holds, and which commands answer which questions with it."""
    shapes, metadata = tensors.shapes(path), tensors.metadata(path) or {}
    images, experts, classes = shapes["logits"]
    parts = [counted(images, "image") + ("" if "labels" in shapes else " without labels")]
    parts += [counted(experts, "expert"), counted(classes, "class", "classes")]
    if "source_logits" in shapes:
        source = counted(shapes["source_logits"][0], "source image")
        parts.append(f"{source} ({metadata.get('source_seen', '0')} trained on)")
    if "views" in shapes:
        parts.append(counted(shapes["views"][0], "view pair"))
    if "features" in shapes:
        parts.append("features" + ("" if "classifiers" in shapes else " without classifiers"))
    lines = [
        f"{path}: {', '.join(parts)}",
        f"  python -m harness.apply {path}             adapted answers for these images",
    ]
    if "labels" in shapes:
        lines.append(f"  python -m harness.run --evidence {path}    every adapter under every shift, measured")
    return "\n".join(lines)
