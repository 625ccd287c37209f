"""The outcome of an experiment on one line."""

from gradflow.client import Json

LABELS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "mse": "mean squared error",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
    "val_mse": "validation mean squared error",
}


def outcome_line(experiment: Json) -> str:
    """Status, metrics of the last epoch, and why the run ended early or failed."""
    outcome = experiment["outcome"]
    parts = [
        f"{label} {outcome[name]:.1%}" if "accuracy" in name else f"{label} {outcome[name]:.4f}"
        for name, label in LABELS.items()
        if outcome.get(name) is not None
    ]
    if outcome.get("stopped_early"):
        parts.append(f"stopped early after epoch {experiment['progress']['epoch']}")
    if outcome["diverged_at_step"] is not None:
        parts.append(f"loss or gradient is not finite from step {outcome['diverged_at_step']}")
    if experiment["error"]:
        parts.append(experiment["error"])
    return f"{experiment['status']}: " + ", ".join(parts) if parts else experiment["status"]
