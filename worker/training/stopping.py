"""Early stopping, by the rules of `keras.callbacks.EarlyStopping`."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from service.contract.training_spec import EarlyStopping


class Verdict(NamedTuple):
    """What an epoch comes to."""

    stop: bool
    best: bool  # its weights are the ones to be restored, as far as is known


class Seen(NamedTuple):
    """What the epochs so far have shown."""

    best: float | None = None  # the figure, with its sign turned where less is better
    waited: int = 0  # epochs without a better one
    any_kept: bool = False


class EarlyStop:
    """Watches one figure epoch by epoch; all that it has learned is in `seen`."""

    def __init__(self, spec: EarlyStopping) -> None:
        self._spec = spec
        self.seen = Seen()
        mode = spec.mode
        if mode == "auto":
            mode = "max" if spec.monitor.endswith("accuracy") else "min"
        self._sign = 1.0 if mode == "max" else -1.0

    def after(self, epoch: int, metrics: Mapping[str, float]) -> Verdict:
        """The verdict after epoch number `epoch`, counted from 0."""
        spec = self._spec
        if epoch < spec.start_from_epoch:
            return Verdict(stop=False, best=False)
        best, waited, first = self.seen.best, self.seen.waited + 1, not self.seen.any_kept
        figure = self._sign * metrics[spec.monitor]
        better = best is None or self._beats(figure, best)
        if better and (spec.baseline is None or self._beats(figure, self._sign * spec.baseline)):
            waited = 0
        self.seen = Seen(figure if better else best, waited, any_kept=True)
        if better:
            return Verdict(stop=False, best=True)
        return Verdict(stop=waited >= spec.patience and epoch > 0, best=first)

    def _beats(self, figure: float, reference: float) -> bool:
        """Whether a figure is larger by more than `min_delta`.

        Compared in float32, as Keras does: a loss that falls in its ninth digit stands still.
        """
        with np.errstate(over="ignore"):
            return bool(np.float32(figure - self._spec.min_delta) > np.float32(reference))
