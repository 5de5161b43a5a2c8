"""A collection that was stopped: what is whole is kept, the same call goes on, another one does not."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.collect import collect
from harness.collecting.parts import Parts
from shifts.common.errors import BadInput, WorkFailed
from tests.harness.collecting.test_collect import IMAGES, LABELS, Net
from tests.harness.small import environment, started

ASKED: dict[str, Any] = {"train_counts": [50, 20, 5, 2], "loss": "cross_entropy", "mean": 0.5, "std": 0.5, "views": 1}


class StopError(Exception):
    """A fault at some batch."""


def loader(stop: int = -1, batch: int = 5, images: Tensor = IMAGES) -> Iterator[Any]:
    """Batches of images, labels and names; a fault where the image at `stop` is due."""
    for rows in torch.arange(len(images)).split(batch):
        if stop in rows:
            raise StopError
        yield images[rows], LABELS[rows], [f"{row}.png" for row in rows]


class Counted(Net):
    """Counts the images that it is shown."""

    def __init__(self, experts: int = 2) -> None:
        super().__init__(experts)
        self.shown = 0

    def forward(self, images: Tensor) -> Any:
        self.shown += len(images)
        return super().forward(images)


def run(folder: Path, stop: int = -1, **changes: Any) -> Counted:
    model = changes.pop("model", None) or Counted()
    batch, images = changes.pop("batch", 5), changes.pop("images", IMAGES)
    source = loader(changes.pop("source_stop", -1), images=IMAGES[:9])
    test = loader(stop, batch, images)
    try:
        collect(
            model, test=test, source=source, output=folder / "m.safetensors", **ASKED | {"features": True} | changes
        )
    except StopError:
        assert not (folder / "m.safetensors").exists()
    return model


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    run(folder)
    return (folder / "m.safetensors").read_bytes()


@pytest.mark.parametrize("stop", [0, 5, 23, 36])
def test_the_same_call_goes_on(stop: int, whole: bytes, tmp_path: Path) -> None:
    run(tmp_path, stop)
    stored = stop // 5 * 5
    assert (tmp_path / "m.safetensors.parts").exists() == (stored > 0)
    again = run(tmp_path)
    assert (tmp_path / "m.safetensors").read_bytes() == whole
    first = min(5, 37 - stored)  # shown twice more, to find the head
    assert again.shown == 3 * (37 - stored) + 9 + 2 * first
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_it_goes_on_in_the_source_images(whole: bytes, tmp_path: Path) -> None:
    run(tmp_path, source_stop=7)
    assert run(tmp_path, stop=0).shown == 4
    assert (tmp_path / "m.safetensors").read_bytes() == whole


def test_batches_may_be_others(whole: bytes, tmp_path: Path) -> None:
    run(tmp_path, 23)
    run(tmp_path, batch=37)
    made = (tmp_path / "m.safetensors").read_bytes()
    assert len(made) == len(whole)
    head = 8 + int.from_bytes(whole[:8], "little")
    assert made[:head] == whole[:head]


def other_weights() -> Counted:
    model = Counted()
    with torch.no_grad():
        next(model.heads[0].parameters()).add_(0.1)
    return model


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model": other_weights()}, "model"),
        ({"model": Counted(3)}, "model"),
        ({"views": 2}, "views"),
        ({"train_counts": [50, 20, 5, 3]}, "loss, train_counts"),
        ({"loss": "balanced_softmax"}, "loss"),
        ({"std": 0.4}, "normalisation"),
        ({"precision": "bf16"}, "precision"),
        ({"stored": "float16"}, "stored type"),
        ({"features": False}, "features"),
        ({"class_names": list("abcd")}, "class_names"),
    ],
)
def test_another_request_does_not(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    run(tmp_path, 23)
    with pytest.raises(BadInput, match=rf"m\.safetensors\.parts was begun with other {what}; delete it"):
        run(tmp_path, **changes)


@pytest.mark.parametrize("images", [IMAGES.flip(0), IMAGES[:15], IMAGES + torch.eye(8) * 1e-3])
def test_other_images_do_not_go_on(images: Tensor, tmp_path: Path) -> None:
    run(tmp_path, 23)
    with pytest.raises(BadInput, match=r"test does not begin with the 20 images that .*\(no shuffling\)"):
        run(tmp_path, images=images.clamp(0, 1))


def test_rows_without_a_state_are_cut_off(whole: bytes, tmp_path: Path) -> None:
    """What a kill leaves: longer arrays than the state says, and arrays that it does not name."""
    run(tmp_path, 23)
    folder = tmp_path / "m.safetensors.parts"
    for name in ("logits", "labels", "ids"):
        with (folder / name).open("ab") as stream:
            stream.write(b"torn")
    (folder / "stray").write_bytes(b"torn")
    run(tmp_path)
    assert (tmp_path / "m.safetensors").read_bytes() == whole


def test_what_is_before_the_first_state_counts_for_nothing(whole: bytes, tmp_path: Path) -> None:
    run(tmp_path, 23)
    (tmp_path / "m.safetensors.parts" / "state.json").unlink()
    run(tmp_path)
    assert (tmp_path / "m.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (
            lambda folder: os.truncate(folder / "logits", 3),
            WorkFailed,
            "logits is shorter than state.json says; delete",
        ),
        (lambda folder: (folder / "state.json").write_text("{"), WorkFailed, "no state of a collection"),
        (lambda folder: (folder / "state.json").write_text("[]"), WorkFailed, "no state of a collection"),
        (
            lambda folder: (folder / "state.json").write_text(
                json.dumps(json.loads((folder / "state.json").read_text()) | {"version": 99})
            ),
            BadInput,
            "another version",
        ),
    ],
)
def test_damage_is_named(damage: Any, kind: type[Exception], said: str, tmp_path: Path) -> None:
    run(tmp_path, 23)
    damage(tmp_path / "m.safetensors.parts")
    with pytest.raises(kind, match=said):
        run(tmp_path)


def test_two_processes_do_not_share_parts(tmp_path: Path) -> None:
    with Parts(tmp_path / "m.safetensors", {}), pytest.raises(BadInput, match="in use by another process"):
        Parts(tmp_path / "m.safetensors", {})
    assert not list(tmp_path.iterdir())


def test_rows_of_one_call_count_together(tmp_path: Path) -> None:
    with Parts(tmp_path / "m.safetensors", {}) as made:
        made.advance("test", {"logits": np.zeros((2, 3)), "labels": np.zeros(2, np.int64)}, {"images": 2})
        with pytest.raises(ValueError, match=r"labels is int64\[1\] an image, before it was int64\[\]"):
            made.advance("test", {"logits": np.zeros((2, 3)), "labels": np.zeros((2, 1), np.int64)}, {"images": 4})
    with Parts(tmp_path / "m.safetensors", {}) as made:
        assert made.progress("test") == {"images": 2}
        assert (made.count("logits"), made.count("labels")) == (2, 2)


SCRIPT = """
import sys, time, torch
from harness.collect import collect
class Slow(torch.nn.Module):
    def forward(self, images):
        print("batch", flush=True)
        time.sleep(float(sys.argv[2]))
        return images.mean((2, 3))[:, :2]
images = torch.rand(40, 3, 4, 4, generator=torch.Generator().manual_seed(0))
collect(Slow(), test=images.split(2), output=sys.argv[1], train_counts=[2, 1], loss="cross_entropy")
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a process that was not stopped."""
    file = tmp_path_factory.mktemp("whole") / "w.safetensors"
    assert batches(file) == 20
    return file.read_bytes()


def batches(file: Path) -> int:
    """Run the script to its end, here; return how many batches it took."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["-c", str(file), "0"])
        exec(SCRIPT, {"__name__": "__main__"})
    return out.getvalue().count("batch")


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive)])
def test_a_stopped_process(how: signal.Signals, tmp_path: Path, undisturbed: bytes) -> None:
    script = SCRIPT.replace("from harness", "from harness.collecting import parts\nparts.SECONDS = 0\nfrom harness", 1)
    process = started("-c", script, str(tmp_path / "m.safetensors"), "0.05", stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    for _ in range(8):
        process.stdout.readline()
    process.send_signal(how)
    process.communicate(timeout=60)
    assert not (tmp_path / "m.safetensors").exists()
    state = json.loads((tmp_path / "m.safetensors.parts" / "state.json").read_text())
    assert state["stages"]["test"]["images"] >= 12
    assert 2 * batches(tmp_path / "m.safetensors") == 40 - state["stages"]["test"]["images"]
    assert (tmp_path / "m.safetensors").read_bytes() == undisturbed


MEMORY = """
import resource, sys, torch
from harness.collect import collect
from harness.collecting import loop
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.last = torch.nn.Linear(48, 1000)
    def forward(self, images):
        return self.last(images.flatten(1))
class Images:
    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        return (torch.rand(500, 3, 4, 4, generator=generator) for _ in range(int(sys.argv[2])))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
collect(Model(), test=[torch.rand(500, 3, 4, 4)], output=sys.argv[1], train_counts=[9] * 1000, loss="cross_entropy")
before = peak()
collect(Model(), test=Images(), output=sys.argv[1], train_counts=[9] * 1000, loss="cross_entropy", stored="float16")
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in other units elsewhere")
def test_memory_holds_one_batch_not_all_images(tmp_path: Path) -> None:
    file = tmp_path / "large.safetensors"
    words = [sys.executable, "-c", MEMORY, str(file), "100"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert file.stat().st_size > 100e6  # bytes; the peak is in MiB
    assert float(done.stdout) < 60
