"""The score of a pack for artificial answers."""

import pytest

from benchmarks.diagnosis.labeling import LabeledCase
from benchmarks.diagnosis.scoring import Answer, Score, Scored, Share
from benchmarks.diagnosis.truth import Truth


def _case(
    symptom: str, right: tuple[str, ...] = (), tolerated: tuple[str, ...] = (), layers: tuple[str, ...] = ()
) -> LabeledCase:
    answers = () if symptom == "healthy" else (symptom, *right)
    return LabeledCase(f"{symptom}-000", symptom, 1, "key", None, layers, Truth(symptom, answers, tolerated))


def _answer(verdict: str, *layers: str, **others: str) -> Answer:
    found = {} if verdict == "healthy" else {verdict: frozenset(layers)}
    return Answer(verdict, found | {name: frozenset({layer}) for name, layer in others.items()})


def test_recall_counts_any_right_answer_and_precision_counts_reported_symptoms() -> None:
    rate = _case("oscillating_loss", right=("diverged",))
    score = Score(
        [
            Scored(rate, _answer("oscillating_loss")),
            Scored(rate, _answer("oscillating_loss")),
            Scored(rate, _answer("healthy")),
            Scored(_case("vanishing"), _answer("oscillating_loss")),
            Scored(_case("healthy"), _answer("oscillating_loss")),
        ]
    )

    found = score.symptoms["oscillating_loss"]

    assert found.recall == Share(2, 3)
    assert found.precision == Share(2, 4)
    assert found.f1 == pytest.approx(2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3))
    assert score.symptoms["vanishing"].f1 == 0.0


def test_the_precision_of_a_symptom_includes_the_other_names_under_which_it_is_found() -> None:
    rate = _case("slow_convergence", right=("loss_not_decreasing",))
    fires_everywhere = _answer("loss_not_decreasing")
    score = Score([Scored(rate, fires_everywhere), *[Scored(_case("healthy"), fires_everywhere) for _ in range(3)]])

    assert score.symptoms["slow_convergence"].recall == Share(1, 1)
    assert score.symptoms["slow_convergence"].precision == Share(1, 4)
    assert score.symptoms["loss_not_decreasing"].precision == Share(1, 4)
    assert score.symptoms["loss_not_decreasing"].f1 is None


def test_a_tolerated_answer_is_neither_right_nor_wrong() -> None:
    case = _case("vanishing", tolerated=("slow_convergence",))
    score = Score(
        [Scored(case, _answer("vanishing", slow_convergence="dense_0")), Scored(case, _answer("slow_convergence"))]
    )

    assert score.symptoms["slow_convergence"].precision == Share(0, 0)
    assert score.symptoms["vanishing"].recall == Share(1, 2)
    assert [each.is_found for each in score.misses] == [False]


def test_any_symptom_reported_for_a_healthy_run_is_a_false_alarm() -> None:
    healthy = _case("healthy")
    score = Score(
        [
            Scored(healthy, _answer("healthy")),
            Scored(healthy, _answer("overfitting")),
            Scored(_case("diverged"), _answer("diverged")),
        ]
    )

    assert score.false_alarms == Share(1, 2)
    assert score.all_faults == Share(1, 1)
    assert score.misses == [score.scored[1]]


def test_a_layer_is_named_only_if_a_right_finding_names_it() -> None:
    case, next_to_it = _case("dead_units", layers=("dense_2",)), frozenset({"dense_1", "dense_3"})
    exact = Scored(case, _answer("dead_units", "dense_2"), next_to_it)
    neighbor = Scored(case, _answer("dead_units", "dense_3"), next_to_it)
    among = Scored(case, _answer("dead_units", "dense_0", "dense_2"), next_to_it)
    by_another = Scored(case, _answer("dead_units", "dense_0", saturation="dense_2"), next_to_it)
    missed = Scored(case, _answer("vanishing", "dense_2"), next_to_it)

    score = Score(
        [exact, neighbor, among, by_another, missed, Scored(_case("dead_units"), _answer("dead_units", "dense_0"))]
    )

    assert score.layers == Share(2, 5)
    assert score.layers_alone == Share(2, 5)


def test_the_confusion_table_counts_pairs_of_true_symptom_and_verdict() -> None:
    score = Score(
        [Scored(_case("vanishing"), _answer("saturation")) for _ in range(2)]
        + [Scored(_case("healthy"), _answer("healthy"))]
    )

    assert dict(score.confusion) == {("vanishing", "saturation"): 2, ("healthy", "healthy"): 1}


def test_intervals_are_those_of_wilson() -> None:
    low, high = Share(81, 263).interval or (0.0, 0.0)

    # Newcombe 1998, table I, example (a) by method 3: 0.2553, 0.3662
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Share(0, 0).interval is None
    assert Share(0, 0).value is None
