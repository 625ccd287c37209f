"""What is said of a run in which nothing was found."""

import numpy as np

from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.gradflow.reach import reach_of
from service.analysis.diagnosis.rules import whole
from service.analysis.diagnosis.values import Finding, Symptom


def healthy(evidence: Evidence, judged: int) -> Finding:
    """With the numbers that it rests on."""
    reach = evidence.once(reach_of)
    words = [f"{judged} rules were judged over {len(evidence.steps)} recorded steps, and none found anything."]
    spread = 0.0
    level = reach.level
    level = level[np.isfinite(level)]
    if len(level):
        spread = float(level.max() - level.min())
        words.append(
            f"The reach of the {len(level)} kernels (gradient_norm over √fan-in and the error of the output, "
            f"medians over the steps) lies between 10^{level.min():.1f} and 10^{level.max():.1f}."
        )
    loss = evidence.step_loss[np.isfinite(evidence.step_loss)]
    if len(loss):
        tenth = max(1, len(loss) // 10)
        words.append(
            f"The mean step_loss is {loss[:tenth].mean(dtype=np.float64):.4g} over the first tenth of the steps and "
            f"{loss[-tenth:].mean(dtype=np.float64):.4g} over the last."
        )
    return Finding(
        Symptom.HEALTHY,
        "info",
        (),
        whole(evidence),
        "nothing_found",
        observed=spread,
        threshold=2.0,
        confidence=len(evidence.steps) / (len(evidence.steps) + 1) if len(level) else 0.5,
        explanation=" ".join(words),
    )
