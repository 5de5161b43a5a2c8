"""Make the embedded dataset from Fashion-MNIST's original IDX files: `python make.py [FOLDER]`.

The first 500 training and the first 500 test images of each class, in the order of the originals, as parquet in
Hub layout. The same bytes come out everywhere: the PNG files are stored (not deflated), Paeth-filtered, and
compressed by parquet across images (pyarrow 26.0.1; another version writes its own name into the files).
"""

import argparse
import gzip
import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

PER_CLASS = 500
CLASS_NAMES = [
    "T - shirt / top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
ORIGINALS = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
OUTPUTS = {
    "train-00000-of-00001.parquet": "77d867c13a04881046bb2e1b2e3d3d3b62fbbfab8f8482ed86be39e668358e05",
    "test-00000-of-00001.parquet": "76cd410456e2544c38ab2421fd4eca1a334b561e79db9bd27d9fd89d7e88b17f",
}


def read_idx(path: Path) -> np.ndarray:
    """Return the unsigned bytes of a gzipped IDX file in their shape. Its SHA-256 is checked first."""
    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != ORIGINALS[path.name]:
        raise SystemExit(f"{path} is not the original file (SHA-256 differs)")
    content = gzip.decompress(packed)
    dimensions = content[3]
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def png(image: np.ndarray) -> bytes:
    """Encode a grey image [H, W] as a PNG file with Paeth-filtered, stored rows."""
    height, width = image.shape
    padded = np.pad(image.astype(np.int64), ((1, 0), (1, 0)))
    here, left, above, corner = padded[1:, 1:], padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    guess = left + above - corner
    to_left, to_above, to_corner = abs(guess - left), abs(guess - above), abs(guess - corner)
    nearest = np.where(to_above <= to_corner, above, corner)
    nearest = np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)
    rows = np.concatenate([np.full((height, 1), 4), (here - nearest) % 256], axis=1).astype(np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", _stored(rows)) + _chunk(b"IEND", b"")


def _stored(data: bytes) -> bytes:
    """Return a zlib stream of one stored block, written out here: no zlib version has a say in its bytes."""
    block = struct.pack("<BHH", 1, len(data), len(data) ^ 0xFFFF)
    return b"\x78\x01" + block + data + struct.pack(">I", zlib.adler32(data))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def first_of_each_class(labels: np.ndarray) -> np.ndarray:
    """Return the indices of the first PER_CLASS images of each class, in the order of the file."""
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:PER_CLASS] for c in range(len(CLASS_NAMES))]))


def table(images: np.ndarray, labels: np.ndarray) -> Any:
    """Return an Arrow table with the feature description that `datasets` reads."""
    import pyarrow

    features = {"image": {"_type": "Image"}, "label": {"names": CLASS_NAMES, "_type": "ClassLabel"}}
    image_type = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema(
        [("image", image_type), ("label", pyarrow.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    encoded = [{"bytes": png(image), "path": None} for image in images]
    return pyarrow.table([pyarrow.array(encoded, image_type), pyarrow.array(labels.astype(np.int64))], schema=schema)


def main() -> None:
    from pyarrow import parquet

    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    for prefix, file in (("train", "train-00000-of-00001.parquet"), ("t10k", "test-00000-of-00001.parquet")):
        images = read_idx(options.folder / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(options.folder / f"{prefix}-labels-idx1-ubyte.gz")
        kept = first_of_each_class(labels)
        path = options.output / file
        parquet.write_table(
            table(images[kept], labels[kept]),
            path,
            compression="zstd",
            compression_level=19,
            use_dictionary=["label"],
            write_statistics=False,
            data_page_size=1 << 24,
        )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != OUTPUTS[file]:
            raise SystemExit(f"{path} differs from the published file: SHA-256 {digest}")
        print(f"{path}: {len(kept)} images, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
