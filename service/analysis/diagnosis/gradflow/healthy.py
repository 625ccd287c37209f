"""The finding of a run in which no rule found anything."""

import numpy as np

from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.gradflow.reach import reach_of
from service.analysis.diagnosis.rules import recorded_range
from service.analysis.diagnosis.values import Finding, Symptom

MAX_SPREAD = 2.0  # decades between the reach of the kernels; reported as the threshold, not compared
CONFIDENCE_WITHOUT_REACH = 0.5


def healthy(evidence: Evidence, evaluated: int) -> Finding:
    """A finding with the numbers that show why the run is healthy.

    Args:
        evidence: the run.
        evaluated: number of rules that were evaluated.
    """
    reach = evidence.once(reach_of)
    sentences = [f"{evaluated} rules were evaluated over {len(evidence.steps)} recorded steps, and none found a fault."]
    spread = 0.0
    level = reach.level
    level = level[np.isfinite(level)]
    if len(level):
        spread = float(level.max() - level.min())
        sentences.append(
            f"The reach of the {len(level)} kernels (gradient_norm divided by √fan-in and the error of the output, "
            f"median over the steps) is between 10^{level.min():.1f} and 10^{level.max():.1f}."
        )
    loss = evidence.step_loss[np.isfinite(evidence.step_loss)]
    if len(loss):
        tenth = max(1, len(loss) // 10)
        sentences.append(
            f"The mean step_loss is {loss[:tenth].mean(dtype=np.float64):.4g} over the first tenth of the steps and "
            f"{loss[-tenth:].mean(dtype=np.float64):.4g} over the last tenth."
        )
    return Finding(
        Symptom.HEALTHY,
        "info",
        (),
        recorded_range(evidence),
        "nothing_found",
        observed=spread,
        threshold=MAX_SPREAD,
        confidence=len(evidence.steps) / (len(evidence.steps) + 1) if len(level) else CONFIDENCE_WITHOUT_REACH,
        explanation=" ".join(sentences),
    )
