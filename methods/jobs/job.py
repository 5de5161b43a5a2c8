"""A training job: everything that determines a checkpoint, its key, and making it once among concurrent runs."""

import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from methods.core.batch import NetworkSpec
from methods.core.batches import regrouped
from methods.core.method import Method
from methods.core.options import canonical_name
from methods.core.precision import whole_float32
from methods.core.recipe import Recipe
from methods.core.stage import Stage
from methods.jobs import packed as zoo
from methods.networks.macs import count_macs, count_parameters
from methods.pixels.data import TrainingData, TrainingImages
from methods.pixels.streaming import StreamedImages
from methods.processes import distributed
from methods.processes.threads import threads, threads_for
from methods.training import checkpoint
from methods.training.loop import TRAIN_VERSION, Trained, build_network, train
from shifts.common.files import digest, shortened
from shifts.images.catalog import Dataset
from shifts.sets.source import SourceImages, source_images
from shifts.sets.training import TrainingSet

Progress = Callable[[str, int, int, float], None]

STEM_BYTES = 220
"""Bytes of a stem; names of evidence and locks made of it are at most 255 bytes, the most that file systems take."""


@dataclass(frozen=True)
class TrainingJob:
    """One checkpoint to be: a method under a recipe and a seed on one long-tailed draw of one dataset.

    accumulate, sync_bn: as in `methods.training.loop.train`; where they are not the default they are part of the key.
    The number of processes is not: it stands in the checkpoint's description. zoo: folder of packed weights that stand
    in for training (`methods.zoo`); weights unpacked from there are the same checkpoint but for rounding. graphs: as in
    `train`; the arithmetic is the same, so they are no part of the key.
    """

    dataset: Dataset
    training: TrainingSet
    method: Method
    recipe: Recipe
    seed: int
    accumulate: int = 1
    sync_bn: bool = False
    zoo: Path | None = None
    graphs: bool = False

    @property
    def method_name(self) -> str:
        """The canonical text of the method with its options."""
        return canonical_name(self.method)

    @cached_property
    def key(self) -> str:
        """The SHA-256 of everything that determines the weights (on one device)."""
        parts: dict[str, Any] = {
            "train_version": TRAIN_VERSION,
            "training_set": self.training.fingerprint,
            "normalisation": self._normalisation(),
            "method": self.method_name,
            "method_version": self.method.version,
            "recipe": self.recipe.settings(),
            "seed": self.seed,
        }
        if self.accumulate != 1:
            parts["accumulate"] = self.accumulate
        if self.sync_bn:
            parts["sync_bn"] = True
        # What was trained on a batch of one image before there was a rule against it has other weights.
        if any(regrouped(self.training.n, stage.batch_size, self.accumulate) for stage in self._stages):
            parts["batches"] = "none of one image"
        return digest(parts)

    @property
    def _stages(self) -> list[Stage]:
        return self.method.stages(self.recipe)

    @cached_property
    def source(self) -> SourceImages:
        """The labelled source images (`shifts.sets.source.source_images`)."""
        return source_images(self.dataset, self.training)

    def _normalisation(self) -> Any:
        """Return the dataset's mean and standard deviation, or what they are computed from (decoding it takes long)."""
        given = self.dataset.mean, self.dataset.std
        return self.dataset.train.fingerprint if None in given else given

    @property
    def stem(self) -> str:
        """The file name without suffix: readable, unique by the key's head."""
        end = f"-s{self.seed}-{self.key[:12]}"
        text = re.sub(r"[^\w.-]+", "_", f"{self.dataset.name}-{self.method_name}-{self.recipe.name}")
        return shortened(text, STEM_BYTES - len(end)) + end

    def path(self, results: Path) -> Path:
        """Return the path where the checkpoint is or will be."""
        return results / "checkpoints" / f"{self.stem}.safetensors"

    def lock(self, results: Path) -> FileLock:
        """Return the lock that is held while the checkpoint is made or used first; a dead process cannot hold it."""
        folder = results / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f".{self.stem}.lock")

    @property
    def spec(self) -> NetworkSpec:
        """What the network is built from, but for pre-trained weights."""
        height = width = self.recipe.size
        if self.recipe.crop == "pad":
            height, width, _ = self.dataset.train.image_shape()
        return NetworkSpec(self.recipe.backbone, tuple(int(count) for count in self.training.counts), (height, width))

    @property
    def threads(self) -> int:
        """Threads that the model is trained and asked with on a CPU."""
        return threads_for(max(self.spec.image_size))

    def cost(self) -> int:
        """Estimate the floating-point operations of training: 6 a MAC (forward 2, backward 4), over all stages."""
        count = partial(count_macs, image_size=self.spec.image_size)
        with torch.device("meta"):  # counted without weights, whatever the network's size
            macs = sum(
                stage.epochs * len(stage.samplers) * self.method.stage_macs(self.spec, stage, count)
                for stage in self.method.stages(self.recipe)
            )
        return round(6 * macs * int(self.training.n))

    def data(self, device: torch.device) -> TrainingData:
        """Return the drawn training set for the loop: in the device's memory, or streamed where the recipe resizes."""
        if self.recipe.crop == "pad":
            return on_device(self.dataset, self.training, device)
        return streamed(self.dataset, self.training, device, self.recipe.size, whole=self.recipe.crop == "whole")

    def make(self, results: Path, device: torch.device, progress: Progress) -> dict[str, Any]:
        """Train the checkpoint if it is missing. Return its description. The caller (its main process) holds `lock`.

        Raises WorkFailed as `methods.training.loop.train` and `methods.training.checkpoint` do.
        """
        with threads(self.threads):
            return self._make(results, device, progress)

    def _make(self, results: Path, device: torch.device, progress: Progress) -> dict[str, Any]:
        path = self.path(results)
        resume = path.with_suffix(".partial.safetensors")
        done = distributed.from_main(lambda: checkpoint.describe(path))
        if done is None and self.zoo is not None:
            packed = self.zoo
            done = distributed.from_main(lambda: zoo.unpack(self.stem, self.key, packed, path))
        if done is None:
            data = distributed.everywhere(lambda: self.data(device))
            trained = train(
                self.method,
                self.recipe,
                data,
                self.seed,
                resume=resume,
                key=self.key,
                progress=progress,
                accumulate=self.accumulate,
                sync_bn=self.sync_bn,
                graphs=self.graphs,
            )
            description = self._description(trained, device)
            done = distributed.from_main(lambda: checkpoint.save(path, trained.network.state_dict(), description))
        # Of a finished checkpoint it is still there if a run was killed between writing that and this.
        distributed.from_main(lambda: resume.unlink(missing_ok=True))
        return done

    def _description(self, trained: Trained, device: torch.device) -> dict[str, Any]:
        """Return what stands beside the weights in the checkpoint's JSON."""
        return {
            "key": self.key,
            "method": self.method_name,
            "method_version": self.method.version,
            "dataset": self.dataset.name,
            "train_fingerprint": self.training.fingerprint,
            "classes": self.spec.classes,
            "class_names": list(self.dataset.train.class_names),
            "train_counts": list(self.spec.counts),
            "train_indices_sha256": self.training.indices_sha256,
            "recipe": self.recipe.name,
            "recipe_settings": self.recipe.settings(),
            "seed": self.seed,
            "processes": distributed.world().size,
            "accumulate": self.accumulate,
            "sync_bn": self.sync_bn,
            "parameters": count_parameters(trained.network),
            "macs": count_macs(trained.network, self.spec.image_size),
            "losses": trained.losses,
            "train_seconds": trained.seconds,
            "device": device_name(device),
            "versions": {name: version(name) for name in ("torch", "numpy", "datasets")},
        }

    def network(self, results: Path, device: torch.device) -> nn.Module:
        """Load the trained network in evaluation mode on `device`, channels last. Raises WorkFailed as `load`."""
        whole_float32()
        network = build_network(self.method, self.spec, self.seed)
        checkpoint.load(self.path(results), network, method=self.method_name, classes=self.spec.classes)
        return network.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def device_name(device: torch.device) -> str:
    """Return `cpu (x86_64)` or the GPU's name."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({platform.machine()})"


def pixels(images: UInt8[np.ndarray, "images height width channels"], device: torch.device) -> Tensor:
    """Return decoded images as uint8 [N, channels, H, W] on the device."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)


def on_device(dataset: Dataset, training: TrainingSet, device: torch.device) -> TrainingImages:
    """Return the drawn training set on the device, with the dataset's normalisation."""
    mean, std = normalisation(dataset, device)
    indices: Int[np.ndarray, " images"] = training.indices
    return TrainingImages(
        images=pixels(dataset.train.images(indices), device),
        labels=torch.from_numpy(dataset.train.labels[indices]).to(device),
        counts=torch.as_tensor(training.counts, dtype=torch.float32, device=device),
        mean=mean,
        std=std,
    )


def streamed(
    dataset: Dataset, training: TrainingSet, device: torch.device, size: int, whole: bool = False
) -> StreamedImages:
    """Return the drawn training set where it lies, cropped to `size` pixels a side, with the data's normalisation."""
    mean, std = normalisation(dataset, device)
    return StreamedImages(
        source=dataset.train,
        indices=training.indices,
        size=size,
        labels=torch.from_numpy(dataset.train.labels[training.indices]).to(device),
        counts=torch.as_tensor(training.counts, dtype=torch.float32, device=device),
        mean=mean,
        std=std,
        whole=whole,
    )


def normalisation(dataset: Dataset, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [3] of pixels scaled to 0..1, as float32 on the device."""
    mean, std = dataset.normalisation
    return (
        torch.tensor(mean, dtype=torch.float32, device=device),
        torch.tensor(std, dtype=torch.float32, device=device),
    )
