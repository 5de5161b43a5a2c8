"""Evaluate your own PyTorch model: `collect` passes your loaders through it and writes the evidence file.

    python examples/torch_model.py my-model.safetensors
    python -m harness.run --evidence my-model.safetensors --shift all

The "model" here is a small network that learns the long-tailed embedded images with cross-entropy.
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from harness.collect import collect
from shifts.images.catalog import load
from shifts.sets.source import source_images
from shifts.sets.training import training_set

dataset = load("embedded")
training = training_set(dataset, imbalance=100)
source = source_images(dataset, training)  # labelled, for calibration


def loader(images, indices: np.ndarray, **more: bool) -> DataLoader:
    pixels = torch.from_numpy(images.images(indices)).permute(0, 3, 1, 2).float() / 255
    return DataLoader(TensorDataset(pixels, torch.from_numpy(images.labels[indices])), batch_size=64, **more)


model = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
optimiser = torch.optim.Adam(model.parameters(), 2e-3)
for _ in range(10):
    for pixels, labels in loader(dataset.train, training.indices, shuffle=True):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(pixels), labels).backward()
        optimiser.step()
test, labelled = loader(dataset.test, np.arange(len(dataset.test))), loader(source.pool, source.indices)
about = {"train_counts": training.counts, "class_names": dataset.class_names, "loss": "cross_entropy"}
collect(model, test=test, source=labelled, source_seen=source.seen, features=True, output=sys.argv[1], **about)
