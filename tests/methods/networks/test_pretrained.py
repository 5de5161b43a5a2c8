"""Pre-trained weights, and the published recipes of 224-pixel data that need them."""

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from methods import networks, papers
from methods.core import recipe, recipes
from methods.core.batch import NetworkSpec
from methods.core.stage import Augmentation
from methods.networks.imagenet_resnet import Layers
from shifts.common.errors import BadInput


@pytest.fixture
def resnet() -> nn.Module:
    """A ResNet-10 in torchvision's names, with the classifier that is not used; in evaluation mode."""
    layers = Layers("resnet10")
    conv1, bn1, relu, pool = layers.stem()
    parts: dict[str, nn.Module] = {"conv1": conv1, "bn1": bn1, "relu": relu, "maxpool": pool}
    parts |= {f"layer{number}": layers.layer(number) for number in (1, 2, 3, 4)}
    parts |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(512, 5)}
    return nn.Sequential(OrderedDict(parts)).eval()


@pytest.fixture
def weights(resnet: nn.Module, tmp_path: Path) -> Path:
    file = tmp_path / "weights.pth"
    torch.save(resnet.state_dict(), file)
    return file


def spec(file: Path | None) -> NetworkSpec:
    return NetworkSpec("resnet10", (3, 2, 1), (32, 32), file)


def test_pretrained_weights_reach_the_trunk_and_every_branch(
    resnet: nn.Sequential, weights: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    given = torch.load(weights, weights_only=True)
    safe = tmp_path / "weights.safetensors"
    save_file(given, safe)
    images = torch.randn(2, 3, 32, 32)
    for file in (weights, safe):
        network = networks.build(spec(file), 3, reduced=False).eval()
        features = network(images).features
        for branch in range(3):
            torch.testing.assert_close(features[:, branch], resnet[:-1](images))


def test_pretrained_weights_reach_shikes_stages(weights: Path) -> None:
    given = torch.load(weights, weights_only=True)
    network = papers.get("shike").network(spec(weights)).state_dict()
    for expert in range(3):
        assert torch.equal(network[f"branches.{expert}.0.conv1.weight"], given["layer4.0.conv1.weight"])
    assert torch.equal(network["shared.2.0.bn2.running_var"], given["layer3.0.bn2.running_var"])
    assert torch.equal(network["stem.0.weight"], given["conv1.weight"])


def test_pretrained_weights_reach_ltmls_trunk_and_both_last_stages(weights: Path) -> None:
    given = torch.load(weights, weights_only=True)
    network = papers.get("ltml").training_network(spec(weights)).state_dict()
    for branch in range(2):
        assert torch.equal(network[f"network.branches.{branch}.0.0.conv1.weight"], given["layer4.0.conv1.weight"])
    for layer in (1, 2, 3):
        assert torch.equal(
            network[f"network.shared.{layer - 1}.0.bn2.running_var"], given[f"layer{layer}.0.bn2.running_var"]
        )
    assert torch.equal(network["network.stem.0.weight"], given["conv1.weight"])


def test_pretrained_weights_of_another_shape_are_refused(weights: Path) -> None:
    with pytest.raises(BadInput, match=r"do not fit the backbone: \d+ differ, first branches.0"):
        networks.build(spec(weights), 2, reduced=True)


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x02cos\nsystem\n."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_unreadable_weights_are_bad_input(content: bytes, suffix: str, tmp_path: Path) -> None:
    file = (tmp_path / "bad").with_suffix(suffix)
    file.write_bytes(content)
    with pytest.raises(BadInput, match=r"^cannot read the pre-trained weights in .*bad"):
        networks.build(spec(file), 1, reduced=False)


# Recipes


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_published_recipes_of_224_pixel_data() -> None:
    imagenet, inat, places = (
        recipes.get("published", name) for name in ("imagenet_lt", "inaturalist2018", "places_lt")
    )
    assert [setting.backbone for setting in (imagenet, inat, places)] == ["resnext50", "resnet50", "resnet152"]
    assert (imagenet.epochs, imagenet.batch_size, imagenet.lr, imagenet.weight_decay) == (100, 256, 0.1, 2e-4)
    assert (inat.epochs, inat.batch_size, inat.lr, inat.weight_decay) == (100, 512, 0.2, 2e-4)
    assert (imagenet.jitter, inat.jitter, places.jitter) == (0.4, 0.0, 0.4)
    assert all(setting.crop == "resized" and setting.size == 224 for setting in (imagenet, inat, places))
    for name in ("softmax", "sade", "ride"):
        stage = papers.get(name).stages(imagenet)[0]
        factors = [stage.schedule.factor(epoch) for epoch in (0, 4, 59, 60, 79, 80, 99)]
        assert factors == pytest.approx([0.2, 1, 1, 0.1, 0.1, 0.01, 0.01])
        assert stage.augmentation == Augmentation(4, True, 0.0, jitter=0.4)
    assert imagenet.reweight_from == inat.reweight_from == 80
    assert recipes.get("published", "cifar100").reweight_from == 160
    assert imagenet.scaled(0.1, "short").reweight_from == 8
    assert places.stage(lambda *arguments: {}).optimiser.trunk == 0.1


def test_the_example_is_the_published_recipe_with_another_backbone() -> None:
    example = recipes.read(Path(__file__).parents[3] / "examples" / "imagenet_lt_resnet10.toml", "imagenet_lt")
    published = recipes.get("published", "imagenet_lt")
    assert replace(example, name="published", backbone="resnext50") == published


def test_places_needs_weights_and_says_which(hub: Path) -> None:
    setting = recipes.get("published", "places_lt")
    with pytest.raises(BadInput, match=r"resnet152 needs pre-trained weights: download https://.*resnet152-394f9c45"):
        setting.weights()
    with pytest.raises(BadInput, match="resnet152 needs pre-trained weights"):
        setting.settings()
    (hub / "resnet152-1.pth").write_bytes(b"one")
    assert setting.weights() == hub / "resnet152-1.pth"
    one = setting.settings()["pretrained"]
    assert len(one) == 64
    (hub / "resnet152-2.pth").write_bytes(b"two")
    with pytest.raises(BadInput, match=r"holds resnet152-1.pth and resnet152-2.pth: name the one"):
        setting.weights()
    named = replace(setting, pretrained=str(hub / "resnet152-2.pth"))
    assert named.weights() == hub / "resnet152-2.pth"
    assert named.settings()["pretrained"] != one
    with pytest.raises(BadInput, match=r"no pre-trained weights at nowhere.pth"):
        replace(setting, pretrained="nowhere.pth").weights()


def test_published_recipe_of_label_sets_follows_the_weights_that_are_there(hub: Path) -> None:
    names = ("published", "published-bf16", "published-x0.5")
    without = [recipes.get(name, "voc_mlt") for name in names]
    assert [setting.name for setting in without] == [
        "published-scratch",
        "published-scratch-bf16",
        "published-x0.5-scratch",
    ]
    assert not any(setting.pretrained or setting.fine_tune for setting in without)
    (hub / "resnet50-1.pth").write_bytes(b"one")
    voc, coco = (recipes.get("published", name) for name in ("voc_mlt", "coco_mlt"))
    assert voc.name == coco.name == "published"
    assert voc.weights() == hub / "resnet50-1.pth"
    assert (voc.backbone, voc.batch_size, voc.lr, voc.weight_decay, voc.nesterov) == ("resnet50", 32, 0.02, 1e-4, False)
    assert (voc.crop, voc.size, voc.fine_tune) == ("whole", 224, True)
    assert (voc.warmup, voc.warmup_steps, voc.clip) == (0, 500, 35)
    # as many steps as 8 epochs of the released sampler, whose drops come at 5/8 and 7/8
    for setting, images, draws in ((voc, 1142, 3875), (coco, 1909, 22560)):
        assert setting.epochs * images == pytest.approx(8 * draws, rel=0.02)
        at = [milestone / setting.epochs for milestone in setting.milestones]
        assert at == pytest.approx([5 / 8, 7 / 8], abs=0.02)
    assert recipes.get("published-scratch", "voc_mlt") == without[0]
    assert recipes.get("published-scratch", "places_lt").weights() is None
    with pytest.raises(BadInput, match="of cifar100 has no pre-trained weights to leave out"):
        recipes.get("published-scratch", "cifar100")


def test_settings_name_later_fields_only_where_they_are_on(hub: Path) -> None:
    (hub / "resnet50-1.pth").write_bytes(b"one")
    voc = recipes.get("published", "voc_mlt").settings()
    assert [voc[name] for name in recipe.LATER] == [True, 500, 35]
    assert not set(recipe.LATER) & set(recipes.PUBLISHED.settings())


def test_the_key_follows_the_content_of_pretrained_weights(hub: Path) -> None:
    places = recipes.get("published", "places_lt")
    copies = []
    for name, content in (("a.pth", b"one"), ("b.pth", b"one"), ("c.pth", b"two")):
        (hub / name).write_bytes(content)
        copies.append(replace(places, pretrained=str(hub / name)).settings())
    assert copies[0] == copies[1] != copies[2]
    assert replace(places, pretrained="").settings()["pretrained"] == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": "resized"}, "needs a size > 0"),
        ({"size": 224}, 'crop = "pad" none'),
        ({"crop": "resized", "size": -1}, "needs a size > 0"),
        ({"jitter": 0.4}, "jitter goes with"),
        ({"crop": "resized", "size": 8, "jitter": 1.5}, "jitter must lie"),
        ({"pretrained": "hub"}, "pretrained goes with backbone resnet50, resnet152, not resnet32"),
        ({"fine_tune": True}, "fine_tune goes with pre-trained weights"),
        ({"warmup_steps": -1}, "warmup_steps >= 0 and a finite clip >= 0"),
        ({"clip": float("inf")}, "warmup_steps >= 0 and a finite clip >= 0"),
        ({"crop": "whole"}, "needs a size > 0"),
        ({"trunk_lr": 0.0}, "trunk_lr > 0"),
        ({"drw_epoch": -1}, "drw_epoch >= 0"),
        ({"drw_factors": (0.1,)}, "two drw_factors"),
    ],
)
def test_recipes_that_contradict_themselves(changes: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        replace(recipes.PUBLISHED, **changes)
