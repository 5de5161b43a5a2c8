"""Answers for very many unlabelled images of 1,000 classes: `harness.apply`, whole and as a stream; its peak memory."""

import json
import struct
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.parts import Line
from benchmarks.timing import whole_command

CLASSES, SOURCE, AT_ONCE = 1000, 10_000, 20_000


def applying(images: int) -> list[Line]:
    """Time the command on a file of `images` images in float16, once each way; the line has its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "night.safetensors"
        write(file, images)
        lines = []
        for order in ("whole", "stream"):
            asked = [str(file), "--order", order, "--output", f"{folder}/answers.parquet"]
            timing, peak = whole_command("harness.apply", *asked)
            lines.append(Line(f"apply, {order}", f"{peak:.1f} GB", timing, images, 0.0, "fp32"))
    return lines


def write(file: Path, images: int) -> None:
    """Write made-up logits of a long-tailed training set, block by block, under class shares that are others."""
    rng = np.random.default_rng(0)
    counts = np.maximum(1280 * 256.0 ** -np.linspace(0, 1, CLASSES), 5).astype(np.int64)
    shares = counts / counts.sum()
    shifted = rng.dirichlet(np.ones(CLASSES))

    def logits(labels: np.ndarray) -> np.ndarray:
        scores = rng.normal(size=(len(labels), CLASSES)).astype(np.float32)
        scores[np.arange(len(labels)), labels] += 4
        return (scores + np.log(shares)).astype(np.float16)

    known = np.arange(SOURCE) % CLASSES
    small = {
        "expert_priors": shares[None],
        "source_labels": known,
        "source_logits": logits(known)[:, None],
        "train_counts": counts,
    }
    kinds = {"<f8": "F64", "<i8": "I64", "<f2": "F16"}
    head: dict[str, object] = {"__metadata__": {"target_prior_kind": "approximate"}}
    end = 0
    for name, array in small.items():
        places = [end, end := end + array.nbytes]
        head[name] = {"dtype": kinds[array.dtype.str], "shape": list(array.shape), "data_offsets": places}
    places = [end, end + 2 * images * CLASSES]
    head["logits"] = {"dtype": "F16", "shape": [images, 1, CLASSES], "data_offsets": places}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for array in small.values():
            stream.write(array.tobytes())
        for start in range(0, images, AT_ONCE):
            stream.write(logits(rng.choice(CLASSES, min(AT_ONCE, images - start), p=shifted)).tobytes())
