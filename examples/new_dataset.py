"""A new dataset: any folder with a train and a test split in the Hub's layout, here made of coloured noise.

    python examples/new_dataset.py my-data
    python -m harness.run --dataset my-data --train-imbalance 20 --shift backward_lt --imbalance 10

A dataset on the Hub needs no code: `--dataset OWNER/NAME --image-column image --label-column label`. To give one a
name of its own, add an `Entry` to shifts/images/entries.py.
"""

import sys
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
names = ["red", "green", "blue"]
features = Features({"image": Image(), "label": ClassLabel(names=names)})
generator = np.random.default_rng(0)
for split, size in (("train", 40), ("test", 20)):
    labels = np.repeat(np.arange(3), size)
    pixels = generator.integers(0, 160, (len(labels), 16, 16, 3))
    pixels[np.arange(len(labels)), :, :, labels] += 95
    rows = {"image": list(pixels.astype(np.uint8)), "label": labels.tolist()}
    Dataset.from_dict(rows, features=features).to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))
