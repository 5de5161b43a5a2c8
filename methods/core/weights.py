"""Files of pre-trained weights: where they are, and their hashes."""

from functools import cache
from pathlib import Path

import torch

from shifts.common.errors import BadInput
from shifts.common.files import file_sha256

FILES = {"resnet50": "resnet50-0676ba61.pth", "resnet152": "resnet152-394f9c45.pth"}


BACKBONES = tuple(FILES)
"""Backbones that pre-trained weights are for. They fit full widths: narrowed branches are refused."""


HUB = "hub"
"""Stands for the file that torch.hub has in its cache."""


ADVICE = (
    "download https://download.pytorch.org/models/{file} into {folder}, or give a file as "
    'pretrained = "FILE.safetensors" (or .pth) in a TOML recipe; pretrained = "" trains from scratch'
)


def cached(backbone: str) -> list[Path]:
    """Return the backbone's files in torch.hub's cache, sorted."""
    return sorted((Path(torch.hub.get_dir()) / "checkpoints").glob(f"{backbone}-*.pth"))


def weights_file(pretrained: str, backbone: str) -> Path:
    """Return the file that `pretrained` stands for: `hub` for torch.hub's cache, or a path.

    Raises BadInput, with what to download, where there is none, or several in the cache.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    advice = ADVICE.format(file=FILES.get(backbone, ""), folder=folder)
    if pretrained != HUB:
        if not Path(pretrained).is_file():
            raise BadInput(f"no pre-trained weights at {pretrained}: {advice}")
        return Path(pretrained)
    found = cached(backbone)
    if not found:
        raise BadInput(f"{backbone} needs pre-trained weights: {advice}")
    if len(found) > 1:
        names = " and ".join(file.name for file in found)
        raise BadInput(f"{folder} holds {names}: name the one to use as pretrained = FILE in a TOML recipe")
    return found[0]


def weights_sha256(pretrained: str, backbone: str) -> str:
    """Return the SHA-256 (hex) of the file that `pretrained` stands for. Raises BadInput as `weights_file`."""
    file = weights_file(pretrained, backbone)
    return _sha256(file, file.stat().st_mtime_ns)


@cache
def _sha256(file: Path, changed: int) -> str:
    return file_sha256(file)
