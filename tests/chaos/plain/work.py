"""The history of a plain run: a chain of hashes, each of which depends on all previous ones."""

import hashlib

STEPS, STEP_S = 60, 0.02


def history(run: str) -> list[bytes]:
    """Return the history of an undisturbed run."""
    found, state = [], run.encode()
    for _ in range(STEPS):
        state = hashlib.sha256(state).digest()
        found.append(state)
    return found
