"""Early stopping by the rules of `keras.callbacks.EarlyStopping` (`keras/src/callbacks/early_stopping.py`)."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from service.contract.training_spec import EarlyStopping


class Verdict(NamedTuple):
    """What follows from the metrics of an epoch."""

    stop: bool  # whether training ends after this epoch
    best: bool  # whether the weights after this epoch are the best so far, to be restored at the end


class EarlyStoppingState(NamedTuple):
    """Everything that early stopping remembers of previous epochs."""

    best: float | None = None  # best value of the monitored metric, negated if smaller is better
    waited: int = 0  # epochs since the last improvement
    any_kept: bool = False  # whether any epoch has been evaluated


class EarlyStop:
    """Evaluates the monitored metric after each epoch.

    Attributes:
        state: What is remembered of previous epochs; assign it to continue an earlier run.
    """

    def __init__(self, spec: EarlyStopping) -> None:
        self._spec = spec
        self.state = EarlyStoppingState()
        mode = spec.mode
        if mode == "auto":
            mode = "max" if spec.monitor.endswith("accuracy") else "min"
        self._sign = 1.0 if mode == "max" else -1.0

    def after(self, epoch: int, metrics: Mapping[str, float]) -> Verdict:
        """Evaluate an epoch; replaces `state`.

        Args:
            epoch: Number of the epoch, counted from 0. Epochs must be passed in order.
            metrics: Metrics of this epoch by name, with the monitored one among them.
        """
        spec = self._spec
        if epoch < spec.start_from_epoch:
            return Verdict(stop=False, best=False)
        best, waited, first = self.state.best, self.state.waited + 1, not self.state.any_kept
        value = self._sign * metrics[spec.monitor]
        better = best is None or self._beats(value, best)
        if better and (spec.baseline is None or self._beats(value, self._sign * spec.baseline)):
            waited = 0
        self.state = EarlyStoppingState(value if better else best, waited, any_kept=True)
        if better:
            return Verdict(stop=False, best=True)
        return Verdict(stop=waited >= spec.patience and epoch > 0, best=first)

    def _beats(self, value: float, reference: float) -> bool:
        """Whether a value is larger by more than `min_delta`.

        Compared in float32, as Keras does, so that a change in the ninth digit of a loss is no improvement.
        """
        with np.errstate(over="ignore"):
            return bool(np.float32(value - self._spec.min_delta) > np.float32(reference))
