"""How big the storms are, and what chance they follow: set by the environment, told in the output."""

from __future__ import annotations

import os
import random

#: 1 for every change, 10 for a soak.
SCALE = int(os.environ.get("FAULTS_SCALE", "1"))
SEED = int(os.environ.get("FAULTS_SEED", "20260101"))


def chance(name: str) -> random.Random:
    """Randomness of the storm *name*; the same seed brings the same storm."""
    print(f"{name}: FAULTS_SEED={SEED} FAULTS_SCALE={SCALE}")
    return random.Random(f"{SEED}/{name}")
