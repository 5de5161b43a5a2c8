"""`python -m harness.collect`: our own checkpoints, models of timm and transformers, and what is asked for."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import nn

from harness.collecting import command, foreign
from harness.collecting.foreign import in_order
from harness.evidence import files as evidence
from shifts.common.errors import BadInput
from tests.harness.small import Result, call, one_line

MODULE = "harness.collect"
CLASSES = ("t-shirt", "trouser", "pullover", "dress")
DRAWN = ["--train-imbalance", "10"]


def collect(*arguments: object) -> Result:
    return call(*arguments, "--device", "cpu", "--decoders", "0", module=MODULE)


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven images of 8 x 8 pixels in two folders, and what is none."""
    folder = tmp_path_factory.mktemp("night")
    rng = np.random.default_rng(0)
    for number in range(7):
        place = folder / ("later" if number % 2 else "")
        place.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(place / f"{number}.png")
    (folder / "notes.txt").write_text("none")
    return folder


def needed(name: str) -> Any:
    """An optional package; the test is skipped, with the reason, where it cannot be used."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # a torchvision beside another torch than its own fails in many ways
        pytest.skip(f"{name} cannot be used here: {error}")


# Our own checkpoints


def checkpoint_of(results: Path, method: str) -> Path:
    (file,) = (results / "checkpoints").glob(f"*-{method}-*.safetensors")
    return file


@pytest.mark.parametrize("method", ["softmax", "sade"])
def test_a_checkpoint_of_ours_gives_what_the_main_command_stores(
    method: str, data: Path, small_results: Path, tmp_path: Path
) -> None:
    output = tmp_path / "mine.safetensors"
    (stored,) = (small_results / "evidence").glob(f"*-{method}-*.safetensors")
    views = stored.stem.rpartition("-v")[2]
    file = checkpoint_of(small_results, method)
    done = collect("--checkpoint", file, "--dataset", data, *DRAWN, "--views", views, "--output", output)
    assert done.status == 0, done.err
    wanted, found = load_file(stored), load_file(output)
    assert found.pop("ids").tobytes().decode().split("\n")[:2] == ["0.png", "1.png"]
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name, strict=True)
    assert done.out.startswith(f"{output}: 240 images, ")
    assert "harness.run --evidence" in done.out


def test_a_checkpoint_of_ours_on_images_without_labels(
    data: Path, small_results: Path, night: Path, tmp_path: Path
) -> None:
    output = tmp_path / "tonight.safetensors"
    asked = ["--checkpoint", checkpoint_of(small_results, "sade"), "--dataset", data, *DRAWN, "--images", night]
    done = collect(*asked, "--features", "--views", 1, "--output", output)
    assert done.status == 0, done.err
    assert "7 images without labels, 3 experts, 4 classes" in done.out
    assert "harness.apply" in done.out
    assert "harness.run" not in done.out
    found = evidence.load_unlabelled(output)
    assert found.ids == ("0.png", "2.png", "4.png", "6.png", "later/1.png", "later/3.png", "later/5.png")
    assert found.evidence.source is not None
    assert found.evidence.classifiers is not None
    assert found.evidence.features is not None
    np.testing.assert_allclose(
        found.evidence.classifiers.logits(found.evidence.features), found.evidence.logits, atol=0.05
    )
    refused = call("--evidence", output, "--results", tmp_path / "results")
    assert refused.status == 2
    assert f"has no labels: `python -m harness.apply {output}` adapts to its images" in one_line(refused.err)


def test_checkpoints_of_other_data_are_refused(data: Path, small_results: Path, tmp_path: Path) -> None:
    file = checkpoint_of(small_results, "sade")
    asked = ["--checkpoint", file, "--output", tmp_path / "m.safetensors"]
    for more, said in [
        (["--dataset", data], "was trained on"),
        ([], "--checkpoint needs the data that it was trained on"),
        (["--dataset", data, "--loss", "cross_entropy"], "--loss is known of a checkpoint of ours"),
        (["--dataset", "embedded_mosaics"], "label sets"),
    ]:
        done = collect(*asked, *more)
        assert done.status == 2
        assert said in one_line(done.err)
    done = collect("--checkpoint", tmp_path / "none.safetensors", "--dataset", data, "--output", tmp_path / "m")
    assert "no finished checkpoint" in one_line(done.err)


# What is asked for


MISSING = [
    ([], "name one model: --timm NAME, --transformers NAME or --checkpoint FILE"),
    (["--timm", "resnet18", "--transformers", "a/b"], "name one model"),
    (["--timm", "resnet18"], "name the images: --dataset NAME, or --images FOLDER"),
    (["--timm", "resnet18", "--dataset", "embedded"], "--loss is needed: which loss trained the model?"),
    (["--timm", "resnet18", "--dataset", "embedded", "--loss", "cross_entropy"], "--train-counts is needed"),
    (
        ["--timm", "resnet18", "--images", ".", "--loss", "cross_entropy", "--train-counts", "dataset"],
        "need --dataset NAME",
    ),
]


@pytest.mark.parametrize(("asked", "said"), MISSING)
def test_one_line_says_what_is_missing(asked: list[str], said: str, tmp_path: Path) -> None:
    done = collect(*asked, "--output", tmp_path / "m.safetensors")
    assert done.status == 2
    assert said in one_line(done.err)


def test_no_output(tmp_path: Path) -> None:
    assert "--output FILE is needed" in one_line(collect("--timm", "resnet18", "--dataset", "embedded").err)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, night: Path, tmp_path: Path) -> None:
    for name in ("timm", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
        asked = [f"--{name}", "x", "--images", night, "--loss", "cross_entropy", "--train-counts", "c.json"]
        done = collect(*asked, "--output", tmp_path / "m.safetensors")
        assert f"--{name} needs {name}: pip install 'tailshift[{name}]'" in one_line(done.err)


# Classes by name


def test_outputs_are_put_in_the_datasets_order() -> None:
    given = (("n1", "n2", "n3"), ("Ankle_boot", "Bag", "coat"))
    assert in_order(given, ("bag", "Coat", "ankle boot"), "clothes") == [1, 2, 0]
    assert in_order(given, ("n3", "n2", "n1"), "clothes") == [2, 1, 0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((("a", "b", "d"),), r"3 classes are not the 3 of pets: 1 are not the model's \(c\), 1 .* not there \(d\)"),
        ((("a", "b", "c", "d"),), r"4 classes are not the 3 of pets: 0 .*\(none\), 1 of the model's .* \(d\)"),
        ((("a", "a", "b"),), r"1 are not the model's \(c\), 0 "),
        ((("x", "y", "z"), ("a", "b", "x")), r"1 are not the model's \(c\), 1 of the model's are not there \(x\)"),
    ],
)
def test_other_classes_are_refused_with_what_differs(given: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        in_order(given, ("a", "b", "c"), "pets")


def test_class_names_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "names"
    for text in ('["a", "b c"]', "a\n b c \n\n"):
        file.write_text(text)
        assert command.read_names(file) == ("a", "b c")
    for text, said in [("[1, 2]", "neither a JSON list"), ("a\na\n", "each once"), ("a", "two names or more")]:
        file.write_text(text)
        with pytest.raises(BadInput, match=said):
            command.read_names(file)
    with pytest.raises(BadInput, match="cannot be read"):
        command.read_names(tmp_path / "none")


# A model of anybody's behind the command, with a library in place of timm


class Toy(nn.Module):
    """Mean brightness in four tones; its outputs are dress, pullover, trouser, t-shirt."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(3, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(images.mean((2, 3)))
        return logits


def toy(names: tuple[str, ...] = ()) -> foreign.Foreign:
    def transform(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    return foreign.Foreign(Toy(), transform, (0.5,) * 3, (0.25,) * 3, (names,) if names else ())


@pytest.fixture
def clothes(night: Path, tmp_path: Path) -> Path:
    """A dataset of four named classes, with a validation split."""
    for split, several in (("train", (4, 3, 2, 2)), ("validation", (1, 1, 1, 1)), ("test", (2, 2, 2, 2))):
        for name, images in zip(CLASSES, several, strict=True):
            folder = tmp_path / "clothes" / split / name
            folder.mkdir(parents=True)
            for number in range(images):
                seed = hash((split, name, number)) % 2**32
                pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "clothes"


def asked_of_toy(data: Path | None, output: Path, *more: object) -> Result:
    given = [] if data is None else ["--dataset", data]
    return collect("--timm", "toy", *given, "--loss", "cross_entropy", "--output", output, *more)


def test_a_foreign_model_on_a_dataset(clothes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "of_timm", lambda *_: toy(CLASSES[::-1]))
    output = tmp_path / "toy.safetensors"
    asked = [clothes, output, "--train-counts", "dataset", "--train-imbalance", "natural", "--batch", "3", "--features"]
    done = asked_of_toy(*asked)
    assert done.status == 0, done.err
    pool = evidence.load(output)
    np.testing.assert_array_equal(pool.train_counts, [2, 2, 4, 3])  # in the order of the names, dress first
    assert pool.class_names == tuple(sorted(CLASSES))
    assert pool.evidence.source is not None
    assert len(pool.evidence.source.labels) == 4
    assert pool.evidence.source.seen == 0
    ids = evidence.load_unlabelled(output).ids
    assert ids is not None
    assert ids[-1] == "test/trouser/1.png"
    images = [np.array(Image.open(clothes / name)) for name in ids]
    pixels = (torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    with torch.inference_mode():
        wanted = Toy()(pixels)[:, [CLASSES[::-1].index(name) for name in pool.class_names]].numpy()
    np.testing.assert_allclose(pool.evidence.logits[:, 0], wanted, rtol=1e-4, atol=1e-5)
    assert pool.evidence.classifiers is not None
    assert pool.evidence.features is not None
    made = pool.evidence.classifiers.logits(pool.evidence.features)
    np.testing.assert_allclose(made, pool.evidence.logits, rtol=1e-4, atol=1e-5)
    before = output.stat().st_mtime_ns
    again = asked_of_toy(*asked)
    assert one_line(again.err) == f"note: {output} is complete"
    assert (again.out, output.stat().st_mtime_ns) == (done.out, before)


def test_counts_by_name_for_a_folder(night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "of_timm", lambda *_: toy(CLASSES[::-1]))
    counts, output = tmp_path / "counts.json", tmp_path / "toy.safetensors"
    counts.write_text(json.dumps(dict(zip(CLASSES, (9, 5, 3, 1), strict=True))))
    done = asked_of_toy(None, output, "--images", night, "--train-counts", counts, "--stored", "float16")
    assert done.status == 0, done.err
    found = evidence.load_unlabelled(output)
    np.testing.assert_array_equal(found.train_counts, [1, 3, 5, 9])
    assert found.class_names == CLASSES[::-1]
    assert found.evidence.source is None


def test_priors_from_a_file(night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "of_timm", lambda *_: toy(CLASSES))
    counts, priors = tmp_path / "counts.json", tmp_path / "priors.json"
    counts.write_text("[9, 5, 3, 1]")
    priors.write_text("[[0.4, 0.3, 0.2, 0.1]]")
    asked = ["--images", night, "--train-counts", counts, "--output", tmp_path / "toy.safetensors"]
    assert collect("--timm", "toy", "--loss", priors, *asked).status == 0
    found = evidence.load_unlabelled(tmp_path / "toy.safetensors")
    np.testing.assert_allclose(found.expert_priors.values, [[0.4, 0.3, 0.2, 0.1]])


@pytest.mark.parametrize(
    ("names", "more", "said"),
    [
        ((), [], "--class-names is needed, for the model does not say what its outputs are"),
        (("a", "b", "c", "d"), [], "the model's 4 classes are not the 4 of clothes"),
        (CLASSES, ["--train-counts", "none.json"], "--train-counts none.json cannot be read"),
    ],
)
def test_a_foreign_model_that_does_not_fit(
    names: tuple[str, ...], more: list[str], said: str, clothes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "of_timm", lambda *_: toy(names))
    done = asked_of_toy(clothes, tmp_path / "m.safetensors", "--train-counts", "dataset", *more)
    assert done.status == 2
    assert said in one_line(done.err)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "must hold 4 numbers"),
        ('{"t-shirt": 1}', "3 names differ from the classes, first 'dress'"),
        ("none", "is not JSON"),
        ("[1, 2, 3, 0]", "whole numbers >= 1"),
    ],
)
def test_counts_that_do_not_fit(
    content: str, said: str, night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "of_timm", lambda *_: toy(CLASSES))
    (tmp_path / "counts.json").write_text(content)
    more = ["--images", night, "--train-counts", tmp_path / "counts.json"]
    done = asked_of_toy(None, tmp_path / "m.safetensors", *more)
    assert done.status == 2
    assert said in one_line(done.err)


def test_folders_without_images(tmp_path: Path) -> None:
    asked = ["--loss", "cross_entropy", "--train-counts", "c.json", "--output", tmp_path / "m.safetensors"]
    for folder, said in [(tmp_path, "holds no image"), (tmp_path / "none", "is no folder")]:
        assert said in one_line(collect("--timm", "x", "--images", folder, *asked).err)


def test_a_damaged_image_is_named(night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "of_timm", lambda *_: toy(CLASSES))
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "a.png").write_bytes(next(night.glob("*.png")).read_bytes())
    (tmp_path / "night" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "counts.json").write_text("[9, 5, 3, 1]")
    more = ["--images", tmp_path / "night", "--train-counts", tmp_path / "counts.json"]
    done = asked_of_toy(None, tmp_path / "m.safetensors", *more)
    assert done.status == 1
    assert "cannot decode image 1 (b.png)" in one_line(done.err)


# Weights from files


def test_weights_of_any_wrapping(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = Toy().state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "c.pth")
    for name in ("a.safetensors", "b.pth", "c.pth"):
        found = foreign.read_weights(tmp_path / name)
        assert all(torch.equal(found[key], tensor) for key, tensor in state.items())
        foreign.load_weights(Toy(), found, tmp_path / name)
    (tmp_path / "d.pth").write_bytes(b"\x80\x02cos\nsystem\n.")
    torch.save([1], tmp_path / "e.pth")
    for name, said in [("d.pth", "cannot be read"), ("e.pth", "not a dictionary"), ("f.pth", "does not exist")]:
        with pytest.raises(BadInput, match=said):
            foreign.read_weights(tmp_path / name)
    with pytest.raises(BadInput, match=r"do not fit the model: 2 differ, first fc.bias"):
        foreign.load_weights(Toy(), {"fc.weight": state["fc.weight"].T, "fc.bias": torch.zeros(5)}, tmp_path)


def test_a_model_of_timm(night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = needed("timm")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = timm.create_model("resnet10t", num_classes=4)
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    (tmp_path / "counts.json").write_text("[9, 5, 3, 1]")
    (tmp_path / "names").write_text("\n".join(CLASSES))
    asked = ["--images", night, "--loss", "balanced_softmax", "--train-counts", tmp_path / "counts.json"]
    asked += ["--output", tmp_path / "m.safetensors", "--views", "1", "--features"]
    mine = ["--timm", "resnet10t", "--weights", tmp_path / "mine.pth"]
    done = collect(*mine, "--class-names", tmp_path / "names", *asked)
    assert done.status == 0, done.err
    found = evidence.load_unlabelled(tmp_path / "m.safetensors")
    config = timm.data.resolve_data_config(model=model)
    transform = timm.data.create_transform(**config, is_training=False)
    assert found.ids is not None
    images = torch.stack([transform(Image.open(night / name).convert("RGB")) for name in found.ids])
    with torch.inference_mode():
        wanted = model.eval()(images).numpy()
    np.testing.assert_allclose(found.evidence.logits[:, 0], wanted, rtol=1e-3, atol=1e-4)
    assert found.evidence.classifiers is not None
    for given, said in [
        (mine, "--class-names FILE is needed"),
        (["--timm", "resnet10x"], "timm has no model 'resnet10x'; near: resnet10t"),
        (["--timm", "resnet14t", "--weights", tmp_path / "mine.pth"], "do not fit the model"),
        (["--timm", "vit_tiny_patch16_224", "--weights", tmp_path / "mine.pth"], "no head.weight, the last layer"),
    ]:
        assert said in one_line(collect(*given, *asked).err)


def test_a_model_of_transformers(night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = needed("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names = dict(enumerate(CLASSES))
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
        id2label=names,
        label2id={name: place for place, name in names.items()},
    )
    model = transformers.ViTForImageClassification(config).eval()
    processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
    for part in (model, processor):
        part.save_pretrained(tmp_path / "vit")
    (tmp_path / "counts.json").write_text(json.dumps(dict.fromkeys(CLASSES[::-1], 3)))
    asked = ["--images", night, "--loss", "cross_entropy", "--train-counts", tmp_path / "counts.json"]
    asked += ["--output", tmp_path / "m.safetensors", "--views", "1", "--features"]
    done = collect("--transformers", tmp_path / "vit", *asked)
    assert done.status == 0, done.err
    found = evidence.load_unlabelled(tmp_path / "m.safetensors")
    assert found.class_names == CLASSES
    assert found.ids is not None
    images = [Image.open(night / name).convert("RGB") for name in found.ids]
    with torch.inference_mode():
        wanted = model(processor(images=images, return_tensors="pt")["pixel_values"]).logits.numpy()
    np.testing.assert_allclose(found.evidence.logits[:, 0], wanted, rtol=1e-3, atol=1e-4)
    assert found.evidence.classifiers is not None
    error = collect("--transformers", tmp_path / "none", *asked).err.splitlines()[-1]
    assert error.startswith(f"error: transformers cannot make '{tmp_path / 'none'}'")
