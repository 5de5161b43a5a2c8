"""Pre-trained ResNets for Places-LT, VOC-MLT and COCO-MLT: found locally, loaded into shared layers and every branch.

The field fine-tunes a ResNet-152 (Places-LT) or ResNet-50 trained on ImageNet. The released code of SADE starts from a
Caffe conversion; here the weights are torchvision's, in its names, from a file that the user has. Nothing is
downloaded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from shifts.common.errors import BadInput


def load_pretrained(network: nn.Module, file: Path, parts: Mapping[str, Sequence[str]]) -> None:
    """Load a ResNet's weights (torchvision's names), the same into every place of a part; all else is left alone.

    parts: name of the ResNet's part -> names of the network's modules that start from it. Raises BadInput where the
    file cannot be read or does not hold exactly those parts.
    """
    given = _read(file)
    loaded = {
        f"{place}.{rest}": tensor
        for name, tensor in given.items()
        for part, _, rest in [name.partition(".")]
        for place in parts.get(part, ())
    }
    prefixes = tuple(f"{place}." for places in parts.values() for place in places)
    expected = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(prefixes)}
    odd = sorted(
        name
        for name in expected.keys() | loaded.keys()
        if name not in expected or name not in loaded or expected[name].shape != loaded[name].shape
    )
    # Files of early conversions have no counters of batches, which nothing reads.
    odd = [name for name in odd if name in loaded or not name.endswith("num_batches_tracked")]
    if odd:
        raise BadInput(f"the pre-trained weights in {file} do not fit the backbone: {len(odd)} differ, first {odd[0]}")
    network.load_state_dict(loaded, strict=False)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the two libraries raise errors of many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"cannot read the pre-trained weights in {file}: {reason}") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise BadInput(f"{file} is not a dictionary of weights")
    return tensors
