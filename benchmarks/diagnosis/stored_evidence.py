"""Converts a stored run into the evidence that a rule pack reads."""

from benchmarks.diagnosis.run import Run
from service.analysis.diagnosis import Evidence
from service.analysis.theory import NoTheory, Prediction, predict


def evidence_of(run: Run) -> Evidence:
    """The evidence of a run, with theory's prediction given the first batch if there is a theory of the network."""
    return Evidence(
        plan=run.plan,
        steps=run.steps,
        series=run.series,
        step_loss=run.step_loss,
        epochs=run.epochs,
        diverged_at_step=run.diverged_at_step,
        prediction=_prediction(run),
    )


def _prediction(run: Run) -> Prediction | None:
    if run.first_inputs is None:
        return None
    try:
        return predict(run.plan, run.first_inputs, run.first_errors)
    except NoTheory:
        return None
