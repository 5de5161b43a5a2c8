"""Evaluate your own model: write its expert logits of a test pool to a file, then run every shift and adapter on it.

    python examples/own_model.py my-model.safetensors
    python -m harness.run --evidence my-model.safetensors --shift all dirichlet-0.1-s0

The "model" here is a nearest-class-mean classifier of the embedded images, once for the train prior, once for uniform.
"""

import sys

import numpy as np

from harness.evidence import save_evidence
from shifts.images.catalog import load
from shifts.sets.source import source_images
from shifts.sets.training import training_set

dataset = load("embedded")
training = training_set(dataset, imbalance=100)
source = source_images(dataset, training)  # labelled images for calibration, best not trained on
images, labels = dataset.train.images(training.indices) / 255.0, dataset.train.labels[training.indices]
means, prior = [images[labels == c].mean(0) for c in range(dataset.classes)], training.counts / training.n


def expert_logits(pixels: np.ndarray) -> np.ndarray:  # [images, experts, classes]
    uniform = np.stack([-100 * ((pixels / 255.0 - mean) ** 2).mean((1, 2, 3)) for mean in means], axis=1)
    return np.stack([uniform + np.log(prior), uniform], axis=1)


save_evidence(
    sys.argv[1],
    logits=expert_logits(dataset.test.images(np.arange(len(dataset.test)))),
    labels=dataset.test.labels,
    train_counts=training.counts,
    expert_priors=[prior, np.full(len(prior), 1 / len(prior))],
    class_names=dataset.class_names,
    source_logits=expert_logits(source.pool.images(source.indices)),
    source_labels=source.pool.labels[source.indices],
    source_seen=source.seen,
)
