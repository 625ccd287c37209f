"""Errors about a field are immutable and describe one fault."""

import pytest

from service.contract.errors import BadUpload, InvalidCell, InvalidSpec, KeyReused, LimitExceeded
from service.contract.faults import Excess, Fault, fault_of

DEEP = InvalidSpec(("model", "depth"), "too deep")


def test_an_error_describes_its_fault_in_the_message_too() -> None:
    assert str(DEEP) == DEEP.fault.message == "too deep"
    assert DEEP.fault == Fault("body.model.depth", "too deep", "rule")


@pytest.mark.parametrize("name", ["location", "fault"])
def test_an_error_cannot_be_changed(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(DEEP, name, ())


def test_the_error_of_an_experiment_of_a_study_is_a_new_error_with_the_values_of_the_axes() -> None:
    error = InvalidCell("model.depth=9", DEEP.fault)

    assert str(error) == error.fault.message == "model.depth=9: too deep"
    assert error.fault.location == "body.base.model.depth"
    assert str(DEEP) == "too deep"


def test_the_error_of_an_experiment_of_a_study_keeps_the_limit() -> None:
    error = InvalidCell("model.depth=9", LimitExceeded(("model", "depth"), "layers", 9, 8).fault)

    assert (error.fault.code, error.fault.excess) == ("limit", Excess("layers", 9, 8))


def test_a_location_within_the_base_of_a_study_stays_the_same() -> None:
    fault = InvalidSpec(("base", "training"), "an axis leads nowhere").fault

    assert InvalidCell("training.epochs.x=1", fault).location == ("base", "training")


def test_the_location_begins_with_the_part_of_the_request() -> None:
    assert BadUpload("empty").fault == Fault("body.file", "empty", "file")
    assert BadUpload("unknown", ("label",)).fault.location == "query.label"
    assert KeyReused().fault.location == "header.idempotency-key"


def test_a_pydantic_error_names_the_field_without_the_kind_of_its_part() -> None:
    location = ("body", "model", "baseline", "depth")

    assert fault_of({"loc": location, "type": "int_type", "msg": "no"}) == Fault("body.model.depth", "no", "schema")


def test_a_validator_may_name_the_field_at_fault_at_the_start_of_its_message() -> None:
    error = {"loc": ("body", "model", "mlp"), "type": "value_error", "msg": "Value error, hidden_units: give one"}

    assert fault_of(error) == Fault("body.model.hidden_units", "give one", "rule")
