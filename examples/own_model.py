"""Evaluate your own model: write its expert logits of a test pool to a file, then run every shift and adapter on it.

    python examples/own_model.py my-model.safetensors
    python -m harness.run --evidence my-model.safetensors --shift all dirichlet-0.1-s0

The "model" here is a nearest-class-mean classifier of the embedded images, once for the train prior, once for uniform.
"""

import json
import sys

import numpy as np
from safetensors.numpy import save_file

from shifts.catalog import load
from shifts.sets import training_set

dataset = load("embedded")
training = training_set(dataset, imbalance=100)
images = dataset.train.images(training.indices).reshape(training.n, -1) / 255.0
labels = dataset.train.labels[training.indices]
means = np.stack([images[labels == c].mean(0) for c in range(dataset.classes)])
test = dataset.test.images(np.arange(len(dataset.test))).reshape(len(dataset.test), -1) / 255.0
prior = training.counts / training.n
uniform_expert = -100 * ((test[:, None] - means) ** 2).mean(2)
forward_expert = uniform_expert + np.log(prior)

save_file(
    {
        "logits": np.stack([forward_expert, uniform_expert], 1).astype(np.float32),  # [images, experts, classes]
        "labels": dataset.test.labels,
        "train_counts": training.counts,
        "expert_priors": np.stack([prior, np.full_like(prior, 1 / len(prior))]),
    },
    sys.argv[1],
    {"class_names": json.dumps(dataset.class_names), "target_prior_kind": "approximate"},
)
