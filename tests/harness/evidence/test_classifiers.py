"""Classifiers: the last layers of experts as arrays."""

import numpy as np
import pytest
import torch

from harness.evidence.heads import Classifiers
from methods.networks.heads import CosineHead, linear_head

FEATURES = np.random.default_rng(0).normal(size=(7, 2, 5)).astype(np.float32)


def test_linear_layers_give_the_networks_logits() -> None:
    heads = [linear_head(5, 4) for _ in range(2)]
    weights = np.stack([head.weight.detach().numpy().T for head in heads])
    made = Classifiers(weights, np.stack([head.bias.detach().numpy() for head in heads])).logits(FEATURES)
    theirs = torch.stack([head(torch.tensor(FEATURES[:, i])) for i, head in enumerate(heads)], 1)
    np.testing.assert_allclose(made, theirs.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_cosine_layers_give_the_networks_logits() -> None:
    heads = [CosineHead(5, 4) for _ in range(2)]
    made = Classifiers(np.stack([head.weight.detach().numpy() for head in heads]), scale=30.0).logits(FEATURES)
    theirs = torch.stack([head(torch.tensor(FEATURES[:, i])) for i, head in enumerate(heads)], 1)
    np.testing.assert_allclose(made, theirs.detach().numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": np.zeros((5, 4))}, r"must be \[experts, dim, classes\]"),
        ({"weights": np.zeros((2, 5, 4)), "biases": np.zeros((2, 5))}, r"must be \[2, 4\], not \[2, 5\]"),
        ({"weights": np.full((2, 5, 4), np.nan)}, "NaN"),
        ({"weights": np.zeros((2, 5, 4)), "biases": np.full((2, 4), np.inf)}, "infinite"),
        ({"weights": np.zeros((2, 5, 4)), "scale": 0.0}, "positive and finite"),
    ],
)
def test_refused(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Classifiers(**given)


def test_features_of_others() -> None:
    with pytest.raises(ValueError, match="do not belong to classifiers"):
        Classifiers(np.zeros((2, 6, 4))).logits(FEATURES)
