"""`harness.collect.collect`: what models and loaders may be, what is stored of them, and what is asked for."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from harness.collect import collect
from harness.collecting import batches
from harness.evidence import files as evidence
from methods.networks.heads import CosineHead
from shifts.common.errors import BadInput, WorkFailed

COUNTS = [50, 20, 5, 2]
IMAGES = torch.rand(37, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(37) % 4
ASKED: dict[str, Any] = {"train_counts": COUNTS, "loss": "cross_entropy"}


class Net(nn.Module):
    """Images -> whatever `wrap` makes of the logits of some experts."""

    def __init__(self, experts: int = 1, wrap: Any = None, head: Any = nn.Linear) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.trunk = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5))
        self.heads = nn.ModuleList(head(6, 4) for _ in range(experts))
        self.wrap = wrap

    def features(self, images: Tensor) -> Tensor:
        return self.trunk(images).mean((2, 3))

    def forward(self, images: Tensor) -> Any:
        features = self.features(images)
        logits = torch.stack([head(features) for head in self.heads], 1)
        return logits if self.wrap is None else self.wrap(logits)


def loader(labelled: bool = True, batch: int = 8) -> DataLoader[Any]:
    return DataLoader(TensorDataset(IMAGES, LABELS) if labelled else TensorDataset(IMAGES), batch_size=batch)


@torch.inference_mode()
def logits_of(model: Net, images: Tensor = IMAGES) -> np.ndarray:
    model.eval()
    wrap, model.wrap = model.wrap, None
    logits: Tensor = model(images)
    model.wrap = wrap
    return logits.numpy()


def close(given: np.ndarray | None, wanted: np.ndarray) -> None:
    assert given is not None
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-5, strict=True)


WRAPS = {
    "experts": None,
    "one expert": lambda logits: logits[:, 0],
    "object": lambda logits: SimpleNamespace(logits=logits),
    "dictionary": lambda logits: {"logits": logits, "loss": None},
    "tuple": lambda logits: (logits, "more"),
    "object in a tuple": lambda logits: (SimpleNamespace(logits=logits), 1),
    "double": lambda logits: logits.double(),
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_models_of_any_form(wrap: str, tmp_path: Path) -> None:
    model = Net(1 if wrap == "one expert" else 3, WRAPS[wrap]).train()
    file = collect(model, test=loader(), output=tmp_path / "mine.safetensors", **ASKED)
    assert model.training
    pool = evidence.load(file)
    close(pool.evidence.logits, logits_of(model))
    np.testing.assert_array_equal(pool.labels, LABELS)
    np.testing.assert_array_equal(pool.train_counts, COUNTS)
    np.testing.assert_allclose(pool.expert_priors.values, [np.array(COUNTS) / 77] * pool.evidence.logits.shape[1])
    assert pool.expert_priors.exact
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]


def dictionaries() -> Iterator[dict[str, Any]]:
    for rows in torch.arange(37).split(10):
        names = [f"night/{row}.jpg" for row in rows]
        yield {"pixel_values": IMAGES[rows], "labels": LABELS[rows].tolist(), "file_name": names}


LOADERS = {
    "loader": lambda: loader(),
    "dictionaries": dictionaries,
    "lists": lambda: [[IMAGES[:20], LABELS[:20].numpy()], [IMAGES[20:], LABELS[20:].numpy()]],
    "with names": lambda: [(IMAGES, LABELS, [f"{place}" for place in range(37)])],
    "names first": lambda: [(IMAGES, [f"{place}" for place in range(37)], LABELS)],
}


@pytest.mark.parametrize("form", LOADERS)
def test_loaders_of_any_form(form: str, tmp_path: Path) -> None:
    model = Net(2)
    file = collect(model, test=LOADERS[form](), output=tmp_path / "mine.safetensors", **ASKED)
    close(evidence.load(file).evidence.logits, logits_of(model))
    ids = evidence.load_unlabelled(file).ids
    wanted = {"dictionaries": "night/36.jpg", "with names": "36", "names first": "36"}.get(form)
    assert (None if ids is None else ids[36]) == wanted


def test_images_without_labels(tmp_path: Path) -> None:
    for number, test in enumerate(([IMAGES[:20], IMAGES[20:]], loader(labelled=False), [{"image": IMAGES}])):
        file = collect(Net(), test=test, output=tmp_path / f"{number}.safetensors", **ASKED)
        close(evidence.load_unlabelled(file).evidence.logits, logits_of(Net()))
        with pytest.raises(BadInput, match="has no labels"):
            evidence.load(file)


def test_source_images_names_and_priors(tmp_path: Path) -> None:
    file = collect(
        Net(2),
        test=loader(),
        source=[(IMAGES[:9], LABELS[:9])],
        source_seen=3,
        class_names=["a", "b", "c", "d"],
        ids=[f"{place}.png" for place in range(37)],
        output=tmp_path / "mine.safetensors",
        train_counts=np.array(COUNTS),
        loss=["cross_entropy", "logit_adjusted:tau=2"],
    )
    pool = evidence.load(file)
    assert pool.evidence.source is not None
    close(pool.evidence.source.logits, logits_of(Net(2))[:9])
    np.testing.assert_array_equal(pool.evidence.source.labels, LABELS[:9])
    assert pool.evidence.source.seen == 3
    assert pool.class_names == ("a", "b", "c", "d")
    assert evidence.load_unlabelled(file).ids == tuple(f"{place}.png" for place in range(37))
    first, second = pool.expert_priors.values
    np.testing.assert_allclose(first * second, np.full(4, (first * second)[0]), rtol=1e-6)


def test_given_priors_are_taken_as_approximate(tmp_path: Path) -> None:
    given = np.array([[0.7, 0.1, 0.1, 0.1], [0.25] * 4])
    asked = ASKED | {"loss": given}
    pool = evidence.load(collect(Net(2), test=loader(), output=tmp_path / "mine.safetensors", **asked))
    np.testing.assert_array_equal(pool.expert_priors.values, given)
    assert not pool.expert_priors.exact


def test_half_precision_is_stored_in_half_the_space(tmp_path: Path) -> None:
    whole, half = (
        collect(Net(3), test=loader(), output=tmp_path / f"{kind}.safetensors", stored=kind, **ASKED)
        for kind in ("float32", "float16")
    )
    close(evidence.load(half).evidence.logits, logits_of(Net(3)).astype(np.float16).astype(np.float32))
    assert whole.stat().st_size - half.stat().st_size > 37 * 3 * 4 * 2 - 16


def test_masked_classes_are_stored_as_far_below(tmp_path: Path) -> None:
    def masked(logits: Tensor) -> Tensor:
        return logits.masked_fill(torch.arange(4) == 2, torch.finfo(torch.float32).min)

    for kind, lowest in (("float32", -1e36), ("float16", -6e4)):
        file = collect(Net(1, masked), test=loader(), output=tmp_path / "m.safetensors", stored=kind, **ASKED)
        found = evidence.load(file).evidence.logits
        np.testing.assert_allclose(found[:, 0, 2], lowest, rtol=1e-3)


# Pixels and views


def test_pixels_are_normalised_and_bytes_are_pixels(tmp_path: Path) -> None:
    whole = (IMAGES * 255).round().to(torch.uint8)
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.2, 0.25]
    shifted = (whole.float() / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    for given in (whole, whole.float() / 255):
        file = collect(Net(), test=[(given, LABELS)], output=tmp_path / "m.safetensors", mean=mean, std=std, **ASKED)
        close(evidence.load(file).evidence.logits, logits_of(Net(), shifted))


@pytest.mark.parametrize("side", [8, 72])
def test_views_depend_on_places_alone(side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "DRAWN_AT_ONCE", 10)
    images = torch.rand(23, 3, side, side)
    asked = ASKED | {"mean": 0.5, "std": 0.25, "views": 2}
    made = []
    for batch in (23, 7):
        test = list(zip(images.split(batch), (LABELS[:23]).split(batch), strict=True))
        made.append(evidence.load(collect(Net(2), test=test, output=tmp_path / "m.safetensors", **asked)).evidence)
    assert made[0].views is not None
    assert made[0].views.shape == (2, 2, 23, 2, 4)
    close(made[1].views, made[0].views)
    flat = made[0].views.reshape(4, -1)
    assert all(not np.allclose(flat[one], flat[other]) for one in range(4) for other in range(one))
    np.testing.assert_allclose(made[0].views.mean((0, 1)), made[0].logits, atol=0.5)


# Features


@pytest.mark.parametrize("head", [nn.Linear, CosineHead, lambda dim, classes: nn.Linear(dim, classes, bias=False)])
def test_features_and_the_layers_that_read_them(head: Any, tmp_path: Path) -> None:
    model = Net(2, head=head).eval()
    found = evidence.load(
        collect(model, test=loader(), output=tmp_path / "m.safetensors", features=True, **ASKED)
    ).evidence
    with torch.inference_mode():
        close(found.features, model.features(IMAGES)[:, None].repeat(1, 2, 1).numpy())
    assert found.classifiers is not None
    close(found.classifiers.logits(found.features), found.logits)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_named_head_that_does_not_give_the_logits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Net(1, lambda logits: logits * 3)
    asked = ASKED | {"test": loader(), "output": tmp_path / "m.safetensors", "features": True}
    with pytest.raises(BadInput, match="not what linear layers give; name the last one with head"):
        collect(model, **asked)
    found = evidence.load(collect(model, head="heads.0", **asked)).evidence
    assert found.features is not None
    assert found.classifiers is None
    assert capsys.readouterr().err == "note: the logits are not what head gives by itself; features go without it\n"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("fc", r"no module 'fc'; its linear layers: heads.0, heads.1"),
        ("heads.0", "head names 1 modules; the model has 2 experts"),
        (["trunk.0", "trunk.0"], r"its inputs are .*\(8, 3, 8, 8\).*not one vector an image"),
    ],
)
def test_heads_that_are_none(head: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        collect(Net(2), test=loader(), output=tmp_path / "m.safetensors", features=True, head=head, **ASKED)


# What is asked for


def ragged() -> Iterator[Any]:
    yield IMAGES[:8], LABELS[:8]
    yield IMAGES[8:]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no loss": ({"loss": None}, "loss is needed: which loss trained the model.*cross_entropy.*balanced_softmax"),
    "unknown loss": ({"loss": "focal"}, "unknown loss 'focal'"),
    "loss without tau": ({"loss": "logit_adjusted"}, "logit_adjusted:tau=1"),
    "loss with odd options": ({"loss": "cross_entropy:tau=1"}, "takes no options"),
    "losses of others": ({"loss": ["cross_entropy"] * 3}, "the model has 2 experts; loss is given for 3"),
    "priors of others": ({"loss": np.ones((2, 3)) / 3}, r"loss is float64\[2, 3\]"),
    "priors that are none": ({"loss": np.ones((2, 4))}, "sum to one"),
    "no counts": ({"train_counts": None}, "train_counts is needed"),
    "counts of nothing": ({"train_counts": [3, 2, 1, 0]}, "whole numbers >= 1"),
    "half counts": ({"train_counts": [3, 2, 1, 0.5]}, "whole numbers >= 1"),
    "counts of others": ({"train_counts": [3, 2, 1]}, "the model gives 4 classes, train_counts has 3"),
    "names of others": ({"class_names": ["a"]}, "class_names has 1 names, train_counts 4"),
    "views of what": ({"views": 1}, "views need images in 0..1.*give mean and std"),
    "half a normalisation": ({"mean": 0.5}, "std is needed too"),
    "normalised already": ({"test": [(IMAGES * 4 - 2, LABELS)], "mean": 0.5, "std": 0.5}, "not 0..1"),
    "bytes": ({"test": [(IMAGES.byte(), LABELS)]}, "images are bytes: give mean and std"),
    "labels in part": ({"test": ragged()}, "the batch at image 8 has no labels"),
    "labels too high": ({"test": [(IMAGES, LABELS + 1)]}, r"labels must lie in 0..3, found 1..4"),
    "labels as shares": ({"test": [(IMAGES, LABELS / 2)]}, r"beside 37 images a batch has float32\[37\]"),
    "no images": ({"test": []}, "test has no images"),
    "no batch": ({"test": ["night"]}, "a batch is str, not images"),
    "no known key": ({"test": [{"picture": IMAGES}]}, "a batch has picture; images are looked for as pixel_values"),
    "unlabelled source": ({"source": [IMAGES]}, "source: the batch at image 0 has no labels"),
    "too many seen": ({"source": [(IMAGES, LABELS)], "source_seen": 38}, "source_seen is 38, of 37"),
    "ids of others": ({"ids": ["a"]}, "ids has 1 names for 37 images"),
    "precision": ({"precision": "fp16"}, "unknown precision 'fp16'; allowed: bf16, fp32"),
    "type": ({"stored": "int8"}, "unknown type to store 'int8'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_says_what_is_missing(case: str, tmp_path: Path) -> None:
    changes, said = REFUSED[case]
    with pytest.raises(BadInput, match=said) as raised:
        collect(Net(2), **{"test": loader(), "output": tmp_path / "m.safetensors"} | ASKED | changes)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda logits: "logits", "the model returns str, not a tensor"),
        (lambda logits: logits.argmax(-1), r"returns int64\[8, 2\] for 8 images"),
        (lambda logits: logits[:4], r"returns float32\[4, 2, 4\] for 8 images"),
    ],
)
def test_what_is_no_logits(wrap: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        collect(Net(2, wrap), test=loader(), output=tmp_path / "m.safetensors", **ASKED)


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"model is function, not a torch\.nn\.Module"):
        collect(logits_of, test=loader(), output=tmp_path / "m.safetensors", **ASKED)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda logits: logits / (logits - logits), "logits of image 0 are NaN or infinite; a class that is masked"),
        (lambda logits: logits + 1e5, "do not fit into float16"),
    ],
)
def test_logits_that_cannot_be_used(wrap: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match=said):
        collect(Net(2, wrap), test=loader(), output=tmp_path / "m.safetensors", stored="float16", **ASKED)
