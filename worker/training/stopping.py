"""Early stopping, by the rules of `keras.callbacks.EarlyStopping`."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from service.contract.training_spec import EarlyStopping


class Verdict(NamedTuple):
    """What an epoch comes to."""

    stop: bool
    best: bool  # its weights are the ones to be restored, as far as is known


class EarlyStop:
    """Watches one figure epoch by epoch."""

    def __init__(self, spec: EarlyStopping) -> None:
        self._spec = spec
        mode = spec.mode
        if mode == "auto":
            mode = "max" if spec.monitor.endswith("accuracy") else "min"
        self._sign = 1.0 if mode == "max" else -1.0
        self._best: float | None = None
        self._waited = 0
        self._any_kept = False

    def after(self, epoch: int, metrics: Mapping[str, float]) -> Verdict:
        """The verdict after epoch number `epoch`, counted from 0."""
        spec = self._spec
        if epoch < spec.start_from_epoch:
            return Verdict(stop=False, best=False)
        first, self._any_kept = not self._any_kept, True
        figure = self._sign * metrics[spec.monitor]
        self._waited += 1
        if self._best is None or self._beats(figure, self._best):
            self._best = figure
            if spec.baseline is None or self._beats(figure, self._sign * spec.baseline):
                self._waited = 0
            return Verdict(stop=False, best=True)
        return Verdict(stop=self._waited >= spec.patience and epoch > 0, best=first)

    def _beats(self, figure: float, reference: float) -> bool:
        """Whether a figure is larger by more than `min_delta`.

        Compared in float32, as Keras does: a loss that falls in its ninth digit stands still.
        """
        with np.errstate(over="ignore"):
            return bool(np.float32(figure - self._spec.min_delta) > np.float32(reference))
