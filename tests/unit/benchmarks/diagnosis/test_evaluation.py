"""The parts of a diagnosis that are scored."""

from benchmarks.diagnosis.evaluation import answer_of, neighbors_of
from benchmarks.diagnosis.networks import dense, rescaling, stack
from service.analysis.diagnosis import Diagnosis, Finding, NotEvaluated, Symptom
from service.contract.recording_spec import Statistic
from tests.support.plans import plan_of


def _finding(symptom: Symptom, *layers: str) -> Finding:
    return Finding(
        symptom=symptom,
        severity="warning",
        layers=layers,
        steps=(0, 9),
        rule="a rule",
        observed=1.0,
        threshold=0.5,
        confidence=0.9,
        explanation="words",
        remedies=(),
    )


def test_findings_of_one_symptom_are_merged_and_rules_that_were_not_evaluated_are_ignored() -> None:
    findings = (
        _finding(Symptom.DEAD_UNITS, "dense_1"),
        _finding(Symptom.VANISHING, "dense_0"),
        _finding(Symptom.DEAD_UNITS, "dense_2", "dense_1"),
    )
    missing = NotEvaluated("a rule", Symptom.SATURATION, (Statistic.SATURATED_FRACTION,), "was not recorded")

    answer = answer_of(Diagnosis("dead_units", "a pack", findings, (missing,)))

    assert answer.verdict == "dead_units"
    assert answer.found == {"dead_units": {"dense_1", "dense_2"}, "vanishing": {"dense_0"}}


def test_healthy_is_not_a_symptom() -> None:
    assert answer_of(Diagnosis("healthy", "a pack", (_finding(Symptom.HEALTHY),), ())).found == {}


def test_only_layers_with_a_kernel_are_neighbors() -> None:
    layers = [dense(4, "tanh"), dense(4, "tanh"), rescaling(0.1), dense(4, "tanh"), dense(4, "tanh")]
    planned = plan_of(model=stack(layers, 1, "sigmoid"), data={"source": "moons"})

    assert neighbors_of(planned, ("dense_1", "rescaling_2", "dense_3")) == {"dense_0", "dense_4"}
    assert neighbors_of(planned, ("dense_4",)) == {"dense_3", "output"}
    assert neighbors_of(planned, ()) == frozenset()
