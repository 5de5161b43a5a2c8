"""A model in production: batches of images come one after another, and their class shares drift.

    python examples/stream.py state.safetensors

The model here is a made-up one that knows its classes a little. The state is saved now and then; after a restart the
stream goes on where it was.
"""

import sys
from pathlib import Path

import numpy as np

from harness import OnlineAdapter

CLASSES, BATCH = 10, 32
rng = np.random.default_rng(0)
train_counts = (1000 * 0.6 ** np.arange(CLASSES)).astype(int)
train_shares = train_counts / train_counts.sum()


def model(labels: np.ndarray) -> np.ndarray:
    """Logits [B, C] of a network that was trained with cross-entropy on the long-tailed set."""
    points = 2 * np.eye(CLASSES)[labels] + rng.normal(size=(len(labels), CLASSES))
    return 2 * points + np.log(train_shares)


state = Path(sys.argv[1] if len(sys.argv) > 1 else "state.safetensors")
validation = np.arange(100 * CLASSES) % CLASSES
online = OnlineAdapter("stream_em_bcts:memory=0.9")
online.fit(model(validation), validation, train_counts=train_counts, expert_priors=train_shares)
if state.exists():
    online.load(state)

plain = adapted = images = 0
for step in range(200):
    head, tail = train_shares, train_shares[::-1]
    labels = rng.choice(CLASSES, BATCH, p=head + (tail - head) * step / 199)
    logits = model(labels)
    plain += (logits.argmax(axis=1) == labels).sum()
    adapted += (online.step(logits).argmax(axis=1) == labels).sum()
    images += BATCH
online.save(state)
print(f"without adaptation {100 * plain / images:.1f} %, with {100 * adapted / images:.1f} %, {online.steps_} steps")
