"""What is wrong with a run, judged by a pack of rules from what was recorded."""

from collections.abc import Callable, Mapping

from service.analysis.diagnosis.autotrainer import autotrainer
from service.analysis.diagnosis.deepdiagnosis import deepdiagnosis
from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.gradflow import gradflow
from service.analysis.diagnosis.sagemaker import sagemaker
from service.analysis.diagnosis.values import NOT_EVALUATED, Diagnosis, Finding, NotEvaluated, PackName, Remedy, Symptom

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
    """What the named pack says of a run, finished or not.

    Raises:
        KeyError: there is no such pack.
    """
    return PACKS[rules](evidence)
