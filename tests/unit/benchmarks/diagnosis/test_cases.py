"""The generated cases are valid and deterministic, and a twin differs from its fault in the fault only."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from benchmarks.diagnosis.case import Case, Part
from benchmarks.diagnosis.cases import BY_NAME, FAMILIES, cases_of
from service.analysis.diagnosis import Symptom
from worker.training.program import XLA_FROM_STEPS

# The fields of a spec that a family may change, as dotted paths.
CHANGES = {
    "vanishing_activation": {"model.activation", "model.kernel_initializer"},
    "vanishing_initialization": {"model.kernel_initializer"},
    "vanishing_depth": {"model.depth"},
    "vanishing_layer": {"model.config"},
    "exploding_initialization": {"model.kernel_initializer"},
    "exploding_batch_norm": {"model.normalization", "model.normalization_position", "model.kernel_initializer"},
    "exploding_residual": {"model.residual_scale"},
    "exploding_rate": {"training.optimizer"},
    "dead_bias": {"model.bias_initializer"},
    "dead_rate": {"training.optimizer"},
    "dead_layer": {"model.config"},
    "saturation_initialization": {"model.kernel_initializer"},
    "saturation_inputs": {"data.scale"},
    "saturation_layer": {"model.config"},
    "rate_small": {"training.optimizer"},
    "rate_large": {"training.optimizer"},
    "oscillation": {"training.optimizer"},
    "overfitting": {"data.samples", "training.epochs"},
    "unscaled_inputs": {"data.scale"},
    "clipping": {"training.gradient_clipping"},
}


@pytest.fixture(scope="module")
def parts() -> dict[Part, list[Case]]:
    return {part: list(cases_of(part)) for part in Part}


def _changes(case: Case) -> set[str]:
    assert case.twin is not None
    return {
        f"{part}.{field}"
        for part in case.spec
        for field in {*case.spec[part], *case.twin[part]}
        if case.spec[part].get(field) != case.twin[part].get(field)
    }


def _layers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = spec["model"]["config"]["config"]["layers"]
    return [{**layer, "config": {k: v for k, v in layer["config"].items() if k != "name"}} for layer in layers]


def test_each_part_has_enough_faults_and_controls(parts: dict[Part, list[Case]]) -> None:
    for part, least in ((Part.DEVELOPMENT, 150), (Part.HELD_OUT, 400), (Part.SECOND_HELD_OUT, 400)):
        faults = sum(case.is_fault for case in parts[part])
        assert faults > least
        assert len(parts[part]) - faults > least


def test_every_spec_is_valid_and_no_run_is_long_enough_for_xla(parts: dict[Part, list[Case]]) -> None:
    for case in (case for cases in parts.values() for case in cases):
        for run in case.runs:
            assert run.plan.work.total_steps < XLA_FROM_STEPS, case.name
            assert run.plan.recorded_steps <= 400, case.name


def test_a_part_always_has_the_same_cases(parts: dict[Part, list[Case]]) -> None:
    assert list(cases_of(Part.DEVELOPMENT)) == parts[Part.DEVELOPMENT]


def test_the_second_development_part_has_all_exploding_families_and_the_most_similar_controls(
    parts: dict[Part, list[Case]],
) -> None:
    made = {case.family for case in parts[Part.SECOND_DEVELOPMENT]}

    assert {name for name in made if BY_NAME[name].is_fault} == {
        family.name for family in FAMILIES if "exploding" in family.symptoms
    }
    assert {name for name in made if not BY_NAME[name].is_fault} >= {"batch_normalized", "residual", "deep"}


def test_the_parts_share_no_seed_and_no_run(parts: dict[Part, list[Case]]) -> None:
    for one, other in combinations(Part, 2):
        seeds = [{run.spec.training.seed for case in parts[part] for run in case.runs} for part in (one, other)]
        keys = [{run.key for case in parts[part] for run in case.runs} for part in (one, other)]
        assert one.value <= min(seeds[0]) < max(seeds[0]) < other.value <= min(seeds[1]), (one, other)
        assert not keys[0] & keys[1], (one, other)


def test_every_case_has_its_own_seed_which_its_twin_shares(parts: dict[Part, list[Case]]) -> None:
    for cases in parts.values():
        seeds = [case.spec["training"]["seed"] for case in cases]
        assert len(set(seeds)) == len(cases)
        assert all(
            case.twin is None or case.twin["training"]["seed"] == seed for case, seed in zip(cases, seeds, strict=True)
        )


def test_a_twin_differs_in_the_fault_only(parts: dict[Part, list[Case]]) -> None:
    assert {family.name for family in FAMILIES if family.is_fault} == set(CHANGES)
    for case in (case for cases in parts.values() for case in cases if case.is_fault):
        found = _changes(case)
        assert found, case.name
        assert found <= CHANGES[case.family], case.name


def test_a_fault_of_one_layer_names_the_layer_in_which_the_twin_differs(parts: dict[Part, list[Case]]) -> None:
    def differing(case: Case) -> Iterator[str]:
        assert case.twin is not None
        names = [layer["config"]["name"] for layer in case.spec["model"]["config"]["config"]["layers"]]
        faulty, sound = _layers(case.spec), _layers(case.twin)
        added = [i for i, layer in enumerate(faulty) if layer["class_name"] == "Rescaling"]
        if added:  # after the layer to which it belongs
            del faulty[added[0]]
            yield names[added[0] - 1]
        yield from (name for name, a, b in zip(names, faulty, sound, strict=False) if a != b)

    checked = 0
    for case in parts[Part.HELD_OUT]:
        if case.is_fault and case.spec["model"]["kind"] == "keras" and case.layers:
            assert list(differing(case)) == [case.layers[0]], case.name
            checked += 1
    assert checked > 80


def test_families_name_existing_symptoms() -> None:
    known = set(Symptom)
    for family in BY_NAME.values():
        assert {*family.symptoms, *family.right, *family.tolerated} <= known
        assert len(family.name) > 0
