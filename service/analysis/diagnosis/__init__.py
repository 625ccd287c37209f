"""Diagnosis of a run by a pack of rules, from what the run has recorded.

docs/diagnosis.md describes every rule, its source, and how the packs compare on runs with known faults.
"""

from collections.abc import Callable, Mapping

from service.analysis.diagnosis.autotrainer import autotrainer
from service.analysis.diagnosis.deepdiagnosis import deepdiagnosis
from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.gradflow import gradflow
from service.analysis.diagnosis.sagemaker import sagemaker
from service.analysis.diagnosis.values import (
    NOT_EVALUATED,
    Diagnosis,
    Finding,
    NotEvaluated,
    PackName,
    Remedy,
    Symptom,
)

__all__ = [
    "NOT_EVALUATED",
    "PACKS",
    "Diagnosis",
    "Evidence",
    "Finding",
    "NotEvaluated",
    "PackName",
    "Remedy",
    "Symptom",
    "diagnose",
]

PACKS: Mapping[str, Callable[[Evidence], Diagnosis]] = {
    "gradflow": gradflow,
    "sagemaker": sagemaker,
    "autotrainer": autotrainer,
    "deepdiagnosis": deepdiagnosis,
}


def diagnose(evidence: Evidence, rules: str = "gradflow") -> Diagnosis:
    """Diagnose a run, finished or not.

    Args:
        evidence: what the run has recorded.
        rules: name of a pack, a `PackName`.

    Raises:
        KeyError: there is no such pack.
    """
    return PACKS[rules](evidence)
