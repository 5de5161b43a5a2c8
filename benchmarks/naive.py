"""The procedures that this field's research code shares, as they are: what the harness is compared with.

Training: images decoded and augmented one by one with Pillow, default memory format, float32. Aggregation at test: for
every shift and epoch two fresh views go through the network with gradients for all of it, to learn one number an
expert.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor, nn

from harness.passes.pools import normalise
from methods.core.batch import Batch
from methods.core.stage import Stage
from methods.pixels.views import ViewDraw

BATCH = 128


def augmented(image: UInt8[np.ndarray, "height width 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Crop after padding by 4, flip, rotate by up to 15 degrees: one image at a time, with Pillow."""
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    top, left = rng.integers(9, size=2)
    picture = Image.fromarray(padded[top : top + image.shape[0], left : left + image.shape[1]])
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(picture.rotate(rng.uniform(-15, 15)))


def epoch(
    network: nn.Module,
    stage: Stage,
    images: UInt8[np.ndarray, "images height width 3"],
    labels: Int[Tensor, " images"],
    counts: Float[Tensor, " classes"],
    mean: Float[Tensor, " 3"],
    std: Float[Tensor, " 3"],
) -> None:
    """Train one epoch."""
    rng, device = np.random.default_rng(0), labels.device
    settings = stage.optimiser
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        foreach=False,
    )
    network.train()
    for chosen in np.array_split(rng.permutation(len(images)), range(BATCH, len(images), BATCH)):
        pixels = np.stack([augmented(images[row], rng) for row in chosen]).transpose(0, 3, 1, 2)
        batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).float() / 255
        batch = (batch - mean[:, None, None]) / std[:, None, None]
        optimiser.zero_grad()
        loss = stage.step(network, [Batch(batch, labels[torch.from_numpy(chosen).to(device)], counts)], 0)["loss"]
        loss.backward()
        optimiser.step()
        loss.item()


@torch.inference_mode()
def accuracy(
    network: nn.Module,
    images: UInt8[np.ndarray, "images height width 3"],
    labels: Int[np.ndarray, " images"],
    mean: Float[Tensor, " 3"],
    std: Float[Tensor, " 3"],
) -> float:
    """Return the share of images whose label has the highest mean of expert logits; images are prepared one by one."""
    correct, device = 0, mean.device
    mean, std = mean.cpu(), std.cpu()
    for start in range(0, len(images), BATCH):
        rows = slice(start, start + BATCH)
        batch = torch.stack([_prepared(image, mean, std) for image in images[rows]]).to(device)
        answers = network(batch).logits.mean(1).argmax(1).cpu().numpy()
        correct += int((answers == labels[rows]).sum())
    return correct / len(images)


def learn_weights(
    network: nn.Module,
    images: UInt8[Tensor, "images channels height width"],
    mean: Float[Tensor, " 3"],
    std: Float[Tensor, " 3"],
    experts: int,
) -> Float[Tensor, " experts"]:
    """Return the expert weights [E] after one test-time epoch over `images`."""
    values = torch.zeros(experts, device=images.device, requires_grad=True)
    optimiser = torch.optim.SGD([values], lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    generator = torch.Generator(images.device).manual_seed(0)
    order = torch.randperm(len(images), generator=generator, device=images.device)
    for chosen in order.split(BATCH):
        answers = []
        for _ in range(2):
            view = ViewDraw(len(chosen), generator).apply(images[chosen], slice(None))
            logits = network(normalise(view, mean, std).contiguous()).logits
            answers.append(torch.einsum("bec,e->bc", logits, values.softmax(0)).softmax(1))
        optimiser.zero_grad()
        loss = -F.cosine_similarity(answers[0], answers[1]).mean()
        loss.backward()
        optimiser.step()
    return values.detach().softmax(0)


def _prepared(
    image: UInt8[np.ndarray, "height width 3"], mean: Float[Tensor, " 3"], std: Float[Tensor, " 3"]
) -> Float[Tensor, "3 height width"]:
    """Return one picture as a normalised tensor, by way of Pillow as data loaders have it."""
    pixels = torch.from_numpy(np.array(Image.fromarray(image))).permute(2, 0, 1).contiguous().float() / 255
    return (pixels - mean[:, None, None]) / std[:, None, None]
