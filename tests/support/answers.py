"""Answers of the API, as small as the command line accepts them."""

from typing import Any

Json = dict[str, Any]

MARKUP_NAME = "[/b] looks like markup"
EXPERIMENT_ID = "0123456789abcdef01234567"
NO_OUTCOME: Json = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy", "diverged_at_step"))


def experiment(**fields: Any) -> Json:
    """An experiment that succeeded without metrics, unless the fields say otherwise."""
    return {
        "id": EXPERIMENT_ID,
        "name": None,
        "status": "succeeded",
        "error": None,
        "progress": {"step": 25, "total_steps": 25},
        "spec": {"model": {"kind": "baseline", "depth": 11, "width": 64}, "data": {"source": "random"}},
        "outcome": NO_OUTCOME,
        "links": {"self": f"/v1/experiments/{EXPERIMENT_ID}"},
        "warnings": [],
    } | fields


def gradients(*norms: tuple[float | None, ...], steps: int | None = None) -> Json:
    """The norms of one kernel per tuple, step by step."""
    return {
        "variables": [
            {"name": f"dense_{depth}/kernel", "layer": f"dense_{depth}", "depth": depth} for depth in range(len(norms))
        ],
        "steps": list(range(len(norms[0]) if steps is None else steps)),
        "values": [list(history) for history in norms],
    }


def finding(**fields: Any) -> Json:
    """A finding of dead units."""
    return {
        "symptom": "dead_units",
        "severity": "critical",
        "layers": ["dense_0", "dense_[/b]"],
        "steps": [0, 124],
        "rule": "dead",
        "observed": 0.7,
        "threshold": 0.5,
        "confidence": 0.93,
        "explanation": "70% of the units of dense_0 are 0 [for all] samples.",
        "remedies": [{"change": {"model.activation": "relu"}, "reason": "its slope is 1"}],
    } | fields


def diagnosis(*findings: Json, verdict: str = "dead_units", not_evaluated: tuple[Json, ...] = ()) -> Json:
    """A diagnosis with these findings."""
    return {
        "verdict": verdict,
        "rules": "gradflow",
        "findings": list(findings),
        "not_evaluated": list(not_evaluated),
    }


def theory_layer(depth: int, log10_norm: float, spread: float = 0.0, role: str = "kernel", **fields: Any) -> Json:
    """The prediction for one variable."""
    name = f"dense_{depth}"
    variable = {"name": f"{name}/{role}", "layer": name, "depth": depth, "role": role}
    return {**variable, "log10_norm": log10_norm, "spread": spread, **fields}


def theory(*layers: Json, **fields: Any) -> Json:
    """A prediction from the spec alone, unless the fields say otherwise."""
    prediction = {"form": "a_priori", "slope": 0.63, "level": -4.2, "phase": None, "caveats": []}
    return {**prediction, "layers": list(layers), **fields}


def study(status: str = "succeeded", *rows: Json, **counts: int) -> Json:
    """A study with these rows and counts."""
    return {
        "id": EXPERIMENT_ID,
        "status": status,
        "counts": dict.fromkeys(("queued", "running", "succeeded", "failed", "cancelled"), 0) | counts,
        "table": list(rows),
    }
