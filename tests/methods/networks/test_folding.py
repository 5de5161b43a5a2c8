"""Folded BatchNorm gives what the network gave, for every method's network."""

import pytest
import torch
from torch import nn

from methods import papers
from methods.core.batch import NetworkSpec
from methods.networks.folding import fold_batchnorm

SPEC = NetworkSpec("resnet8", tuple(range(100, 0, -10)), (16, 16))


def unsettled(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, its BatchNorms far from the identity."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_mean, module.bias):
                assert values is not None
                nn.init.normal_(values)
            for values in (module.running_var, module.weight):
                assert values is not None
                nn.init.uniform_(values, 0.5, 2)
    return network.eval()


@pytest.mark.parametrize("name", papers.METHODS)
@torch.no_grad()
def test_output_is_the_same_without_batchnorm(name: str) -> None:
    torch.manual_seed(0)
    network = unsettled(papers.get(name).network(SPEC))
    images = torch.randn(4, 3, *SPEC.image_size)
    before = network(images)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    folded = fold_batchnorm(network, SPEC.image_size)
    assert norms > 0
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    after = folded(images)
    for part in ("logits", "features"):
        torch.testing.assert_close(getattr(after, part), getattr(before, part), rtol=1e-4, atol=1e-4)


def test_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="evaluation"):
        fold_batchnorm(papers.get("softmax").network(SPEC), SPEC.image_size)


def test_convolution_of_two_batchnorms_is_refused() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 3, 1)
            self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(2))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.stack([norm(self.convolution(images)) for norm in self.norms])

    with pytest.raises(ValueError, match="more than once"):
        fold_batchnorm(Shared().eval(), (4, 4))


def test_batchnorm_without_a_convolution_stays() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    folded = fold_batchnorm(unsettled(network), (4, 4))
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == 2
