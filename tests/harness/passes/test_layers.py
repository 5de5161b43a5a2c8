"""Last layers: found for every method, and what is not found."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.evidence.heads import Classifiers
from harness.passes.layers import Inputs, Layer, classifiers, last_layers
from methods import papers
from methods.core.batch import ExpertOutput, NetworkSpec

COUNTS = (50, 20, 5, 2)
IMAGES = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SPEC = NetworkSpec("resnet8", COUNTS, (16, 16))
FOUND = [name for name in papers.METHODS if not papers.get(name).has_preference] + [
    "logit_adjusted:posthoc=true,tau=2",
    "ride:experts=2",
]


@pytest.mark.parametrize("name", FOUND)
def test_the_last_layers_of_every_method_give_its_logits(name: str) -> None:
    torch.manual_seed(0)
    network = papers.get(name).network(SPEC).eval()
    layers = last_layers(network, IMAGES)
    assert layers is not None
    made = classifiers(layers)
    assert made is not None
    with torch.inference_mode():
        output = network(IMAGES)
    np.testing.assert_allclose(made.logits(output.features.numpy()), output.logits.numpy(), rtol=1e-4, atol=1e-4)


def test_heads_of_a_preference_are_no_layers() -> None:
    assert last_layers(papers.get("prl").network(SPEC).eval(), IMAGES) is None


class Net(nn.Module):
    """Two experts over one feature vector; `after` changes their logits."""

    def __init__(self, first: nn.Module, second: nn.Module, after: object = None) -> None:
        super().__init__()
        self.heads, self.after = nn.ModuleList([first, second]), after

    def forward(self, images: Tensor) -> ExpertOutput:
        features = images.mean((2, 3))
        logits = torch.stack([head(features) for head in self.heads], 1)
        logits = logits if self.after is None else self.after(logits)
        return ExpertOutput(logits, features[:, None].repeat(1, 2, 1))


def test_what_is_added_to_all_images_joins_the_biases() -> None:
    shift = torch.tensor([[1.0, -2, 0.5, 3], [0, 0, 0, 0]])
    plain, moved = (Net(nn.Linear(3, 4), nn.Linear(3, 4, bias=False), after) for after in (None, lambda z: z + shift))
    moved.load_state_dict(plain.state_dict())
    made = [classifiers(found) for net in (plain, moved) if (found := last_layers(net, IMAGES)) is not None]
    assert all(one is not None and one.biases is not None for one in made)
    assert len(made) == 2
    np.testing.assert_allclose(made[1].biases - made[0].biases, shift.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "after", [lambda z: z * 2, lambda z: z.sigmoid(), lambda z: z.flip(2), lambda z: z.mean(1, True)]
)
def test_changed_logits_are_no_layers(after: object) -> None:
    net = Net(nn.Linear(3, 4), nn.Linear(3, 4), after)
    assert last_layers(net, IMAGES) is None


def test_one_image_tells_nothing_of_what_is_added() -> None:
    assert last_layers(Net(nn.Linear(3, 4), nn.Linear(3, 4), lambda z: z + 1), IMAGES[:1]) is None
    assert last_layers(Net(nn.Linear(3, 4), nn.Linear(3, 4)), IMAGES[:1]) is not None


def test_outputs_in_another_order() -> None:
    order = np.array([2, 0, 3, 1])
    net = Net(nn.Linear(3, 4), nn.Linear(3, 4), lambda z: z[:, :, order])
    layers = last_layers(net, IMAGES, order)
    assert layers is not None
    made = classifiers(layers, order)
    assert made is not None
    with torch.inference_mode():
        output = net(IMAGES)
    np.testing.assert_allclose(made.logits(output.features.numpy()), output.logits.numpy(), rtol=1e-4, atol=1e-5)


def test_layers_of_several_kinds_are_no_classifiers() -> None:
    from methods.networks.heads import CosineHead

    assert classifiers([Layer(nn.Linear(3, 4)), Layer(CosineHead(3, 4))]) is None
    assert classifiers([Layer(CosineHead(3, 4)), Layer(CosineHead(3, 4, scale=16))]) is None
    assert classifiers([Layer(nn.Linear(3, 4)), Layer(nn.Linear(2, 4))]) is None
    assert classifiers([Layer(nn.Bilinear(3, 3, 4))]) is None
    assert isinstance(classifiers([Layer(nn.Linear(3, 4))]), Classifiers)


def test_inputs_of_layers_are_watched_until_closed() -> None:
    net = Net(nn.Linear(3, 4), nn.Linear(3, 4))
    inputs = Inputs(list(net.heads))
    with pytest.raises(ValueError, match="not one vector an image"):
        inputs.features()
    torch.testing.assert_close(net(IMAGES).features, inputs.features())
    inputs.close()
    assert not any(head._forward_pre_hooks for head in net.heads)
