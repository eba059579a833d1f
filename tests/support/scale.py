"""Scale and random seed of the fault-injection tests: set by the environment, printed in the output."""

from __future__ import annotations

import os
import random

#: 1 for every change, 10 for a soak test.
SCALE = int(os.environ.get("FAULTS_SCALE", "1"))
SEED = int(os.environ.get("FAULTS_SEED", "20260101"))


def chance(name: str) -> random.Random:
    """Return the random generator of the test *name*; a seed makes it reproducible."""
    print(f"{name}: FAULTS_SEED={SEED} FAULTS_SCALE={SCALE}")
    return random.Random(f"{SEED}/{name}")
