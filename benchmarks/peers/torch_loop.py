"""The presets as an eager PyTorch loop with fused Adam; one call computes the norms of all gradients of a step."""

import sys
from functools import partial
from typing import Any

import torch

from benchmarks.peers.turns import ROLES, EpochValues, answer, layers_of, load, run, serve

EPSILON = 1e-7  # Keras's default; PyTorch adds it to another square root, so later steps differ a little
MOMENTUM, VARIANCE_EPSILON = 0.01, 1e-3  # Keras's defaults of batch normalization


class Loop:
    """The training of a preset."""

    def __init__(self, path: str, kind: str) -> None:
        x, y, variables = load(path)
        self.samples = len(x)
        self._x, self._y = torch.from_numpy(x), torch.from_numpy(y)
        torch.set_default_dtype(self._x.dtype)
        self._layers = layers_of(variables, ROLES[kind])
        self.start()

    def start(self) -> None:
        """Reset the weights and the optimizer."""
        *hidden, output = self._layers
        self._model = torch.nn.Sequential(*[module for layer in hidden for module in _modules(layer)], _dense(output))
        self._variables = list(self._model.parameters())
        self._adam = torch.optim.Adam(self._variables, lr=1e-3, eps=EPSILON, fused=True)

    def epoch(self, order: Any) -> EpochValues:
        """Train one epoch over these batches."""
        steps = [self._step(samples) for samples in torch.from_numpy(order)]
        losses, correct, norms = (torch.stack(values).numpy() for values in zip(*steps, strict=True))
        return losses, correct, norms

    def _step(self, samples: Any) -> tuple[Any, Any, Any]:
        y = self._y[samples]
        logits = self._model(self._x[samples])[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y)
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        norms = torch.stack(torch._foreach_norm([variable.grad for variable in self._variables]))
        self._adam.step()
        return loss.detach(), torch.sum((logits > 0) == y), norms


def _modules(layer: dict[str, Any]) -> list[Any]:
    dense = _dense(layer)
    if "gamma" not in layer:
        return [dense, torch.nn.Sigmoid()]
    normalization = torch.nn.BatchNorm1d(len(layer["gamma"]), eps=VARIANCE_EPSILON, momentum=MOMENTUM)
    with torch.no_grad():
        normalization.weight.copy_(torch.from_numpy(layer["gamma"]))
        normalization.bias.copy_(torch.from_numpy(layer["beta"]))
    return [dense, torch.nn.ReLU(), normalization]


def _dense(layer: dict[str, Any]) -> Any:
    dense = torch.nn.Linear(*layer["kernel"].shape)
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(layer["kernel"].T))
        dense.bias.copy_(torch.from_numpy(layer["bias"]))
    return dense


if __name__ == "__main__":
    torch.set_num_threads(1)  # like gradflow's trainers
    torch.set_num_interop_threads(1)
    loop = Loop(*sys.argv[1:])
    run(loop, 1)
    serve(partial(answer, loop))
