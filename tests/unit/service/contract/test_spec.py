"""Valid and invalid specs."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.contract.recording_spec import Statistic
from service.contract.spec import ExperimentSpec
from service.contract.spec_part import MAX_INTEGER
from tests.support.specs import mlps
from tests.support.specs import specs as small_specs

seeds = st.integers(0, MAX_INTEGER)
positive = st.floats(1e-12, 1e12)
sizes = st.integers(1, 10**6)
scales = st.sampled_from(["none", "standard", "minmax"])
decays = st.floats(0, 1, exclude_max=True)
specs = st.fixed_dictionaries(
    {
        "model": st.one_of(
            st.sampled_from(["baseline", "improved"]),
            st.fixed_dictionaries(
                {"kind": st.sampled_from(["baseline", "improved"])}, optional={"depth": sizes, "width": sizes}
            ),
        )
    },
    optional={
        "name": st.one_of(st.none(), st.text(max_size=120)),
        "tags": st.lists(st.text(min_size=1, max_size=60), max_size=16),
        "data": st.one_of(
            st.fixed_dictionaries(
                {"source": st.just("random")},
                optional={
                    "samples": st.integers(2, 10**6),
                    "features": sizes,
                    "scale": scales,
                    "seed": st.one_of(st.none(), seeds),
                },
            ),
            st.fixed_dictionaries(
                {"source": st.sampled_from(["breast_cancer", "digits", "wine", "iris"])},
                optional={"scale": scales, "seed": st.one_of(st.none(), seeds)},
            ),
        ),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "epochs": sizes,
                "batch_size": sizes,
                "validation_split": decays,
                "shuffle": st.booleans(),
                "seed": seeds,
                "optimizer": st.one_of(
                    st.fixed_dictionaries(
                        {"name": st.just("adam")},
                        optional={"learning_rate": positive, "beta_1": decays, "beta_2": decays, "epsilon": positive},
                    ),
                    st.fixed_dictionaries(
                        {"name": st.just("sgd")}, optional={"learning_rate": positive, "momentum": decays}
                    ),
                ),
            },
        ),
    },
)


def _is_a_spec(body: dict[str, Any]) -> bool:
    try:
        ExperimentSpec.model_validate(body)
    except ValidationError:
        return False
    return True


@given(st.one_of(specs, small_specs(mlps).filter(_is_a_spec)))
def test_a_resolved_spec_has_no_open_default_and_survives_json(body: dict[str, Any]) -> None:
    spec = ExperimentSpec.model_validate(body).resolved()

    assert spec.data.seed is not None
    posted_again = json.loads(spec.model_dump_json())
    assert ExperimentSpec.model_validate(posted_again).resolved() == spec
    assert ExperimentSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_data_take_the_seed_of_the_training_unless_they_have_their_own() -> None:
    def seed(**data: Any) -> int | None:
        body = {"model": "baseline", "data": {"source": "random", **data}, "training": {"seed": 7}}
        return ExperimentSpec.model_validate(body).resolved().data.seed

    assert seed() == 7
    assert seed(seed=None) == 7
    assert seed(seed=3) == 3
    assert seed(seed=0) == 0
    assert seed(source="iris") == 7


def test_every_default_is_the_documented_one() -> None:
    spec = ExperimentSpec.model_validate({"model": "baseline"}).resolved()

    assert spec.model_dump(mode="json") == {
        "name": None,
        "tags": [],
        "model": {"kind": "baseline", "depth": 11, "width": 64},
        "data": {"source": "random", "samples": 1000, "features": 20, "scale": "none", "seed": 0},
        "training": {
            "epochs": 5,
            "batch_size": 32,
            "validation_split": 0.2,
            "shuffle": True,
            "seed": 0,
            "loss": "auto",
            "optimizer": {
                "name": "adam",
                "learning_rate": 0.001,
                "weight_decay": None,
                "beta_1": 0.9,
                "beta_2": 0.999,
                "epsilon": 1e-07,
                "amsgrad": False,
            },
            "learning_rate_schedule": None,
            "early_stopping": None,
            "precision": "float32",
            "gradient_clipping": None,
            "stop_on_divergence": True,
        },
        "recording": {"every": 1, "statistics": ["gradient_norm"], "keep_model": False},
    }


@pytest.mark.parametrize("preset", ["baseline", "improved"])
def test_the_name_of_a_preset_stands_for_an_object_of_that_kind(preset: str) -> None:
    assert ExperimentSpec.model_validate({"model": preset}) == ExperimentSpec.model_validate(
        {"model": {"kind": preset}}
    )


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({}, ("model",)),
        ({"model": "huge"}, ("model",)),
        ({"model": 3}, ("model",)),
        ({"model": {"kind": "transformer"}}, ("model",)),
        ({"model": {"kind": "mlp", "hidden_units": []}}, ("model", "mlp", "hidden_units")),
        ({"model": {"kind": "mlp", "hidden_units": [3, 0]}}, ("model", "mlp", "hidden_units", 1)),
        ({"model": {"kind": "mlp", "hidden_units": [3], "depth": 1}}, ("model", "mlp")),
        ({"model": {"kind": "mlp", "hidden_units": [3, 4], "residual": "post_activation"}}, ("model", "mlp")),
        ({"model": {"kind": "mlp", "bias_initializer": "orthogonal"}}, ("model", "mlp")),
        ({"model": {"kind": "mlp", "bias_initializer": {"name": "identity"}}}, ("model", "mlp")),
        (
            {
                "model": {
                    "kind": "mlp",
                    "residual": "pre_activation",
                    "normalization_position": "after_activation",
                }
            },
            ("model", "mlp"),
        ),
        ({"model": {"kind": "mlp", "activation": "softmax"}}, ("model", "mlp", "activation")),
        ({"model": {"kind": "mlp", "dropout": 1.0}}, ("model", "mlp", "dropout")),
        ({"model": {"kind": "mlp", "kernel_initializer": "he"}}, ("model", "mlp", "kernel_initializer")),
        ({"model": "baseline", "recording": {"every": 0}}, ("recording", "every")),
        ({"model": "baseline", "recording": {"statistics": ["norm"]}}, ("recording", "statistics", 0)),
        ({"model": "baseline", "recording": {"statistics": ["clipped_norm"]}}, ()),
        ({"model": "baseline", "recording": {"keep_model": 1}}, ("recording", "keep_model")),
        ({"model": "baseline", "training": {"loss": "hinge"}}, ("training", "loss")),
        ({"model": "baseline", "training": {"precision": "float16"}}, ("training", "precision")),
        ({"model": "baseline", "training": {"optimizer": "lion"}}, ("training", "optimizer")),
        (
            {"model": "baseline", "training": {"gradient_clipping": {"by": "norm", "threshold": 0}}},
            ("training", "gradient_clipping", "threshold"),
        ),
        (
            {"model": "baseline", "training": {"early_stopping": {"monitor": "val_f1"}}},
            ("training", "early_stopping", "monitor"),
        ),
        ({"model": "baseline", "data": {"source": "upload"}}, ("data", "upload", "dataset_id")),
        (
            {"model": "baseline", "data": {"source": "upload", "dataset_id": "A" * 24}},
            ("data", "upload", "dataset_id"),
        ),
        ({"model": "baseline", "data": {"source": "blobs", "classes": 1}}, ("data", "blobs", "classes")),
        ({"model": "baseline", "data": {"source": "circles", "factor": 1.0}}, ("data", "circles", "factor")),
        ({"model": "baseline", "extra": 1}, ("extra",)),
        ({"model": ["baseline"]}, ("model",)),
        ({"model": {"depth": 3}}, ("model",)),
        ({"model": {"kind": "baseline", "depth": 0}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "depth": -3}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "depth": None}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "units": 3}}, ("model", "baseline", "units")),
        ({"model": {"kind": "baseline", "depth": True}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "depth": "11"}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "depth": 2.5}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "improved", "width": float("nan")}}, ("model", "improved", "width")),
        ({"model": "baseline", "name": "x" * 121}, ("name",)),
        ({"model": "baseline", "tags": ["a"] * 17}, ("tags",)),
        ({"model": "baseline", "name": 3}, ("name",)),
        ({"model": "baseline", "name": "\ud800"}, ("name",)),  # a lone surrogate, which UTF-8 cannot encode
        ({"model": "baseline", "tags": "one"}, ("tags",)),
        ({"model": "baseline", "tags": ["a", 3]}, ("tags", 1)),
        ({"model": "baseline", "tags": ["x" * 61]}, ("tags", 0)),
        ({"model": "baseline", "tags": [""]}, ("tags", 0)),
        ({"model": "baseline", "data": {"samples": 9}}, ("data",)),
        ({"model": "baseline", "data": {"source": "mnist"}}, ("data",)),
        ({"model": "baseline", "data": {"source": "random", "samples": 1}}, ("data", "random", "samples")),
        ({"model": "baseline", "data": {"source": "iris", "scale": "log"}}, ("data", "iris", "scale")),
        ({"model": "baseline", "data": {"source": "iris", "samples": 9}}, ("data", "iris", "samples")),
        ({"model": "baseline", "training": {"seed": MAX_INTEGER + 1}}, ("training", "seed")),
        ({"model": "baseline", "training": {"seed": -1}}, ("training", "seed")),
        ({"model": "baseline", "training": {"seed": True}}, ("training", "seed")),
        ({"model": "baseline", "training": {"shuffle": 1}}, ("training", "shuffle")),
        ({"model": "baseline", "training": {"validation_split": 1.0}}, ("training", "validation_split")),
        ({"model": "baseline", "training": {"validation_split": "0.2"}}, ("training", "validation_split")),
        ({"model": "baseline", "training": {"validation_split": float("nan")}}, ("training", "validation_split")),
        (
            {"model": "baseline", "training": {"optimizer": {"name": "adam", "learning_rate": float("inf")}}},
            ("training", "optimizer", "adam", "learning_rate"),
        ),
    ],
)
def test_the_error_of_an_invalid_spec_names_the_field(body: Any, location: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        ExperimentSpec.model_validate(body)

    assert [error["loc"] for error in refused.value.errors()] == [location]


HOSTILE = [
    pytest.param(-(10**400), id="huge integer"),
    pytest.param("x" * 10**6, id="long text"),
    pytest.param([[[[[[]]]]]], id="nested lists"),
    pytest.param({"a": {"a": {"a": None}}}, id="nested objects"),
    pytest.param(1e308, id="huge float"),
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("place", [("model", "depth"), ("data", "seed"), ("training", "seed"), ("name",), ("tags",)])
def test_the_error_of_a_hostile_value_names_its_field_only(place: tuple[str, ...], value: Any) -> None:
    body: dict[str, Any] = {"model": {"kind": "baseline"}, "data": {"source": "iris"}, "training": {}}
    part = body
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value

    with pytest.raises(ValidationError) as refused:
        ExperimentSpec.model_validate(body)

    assert {error["loc"][0] for error in refused.value.errors()} == {place[0]}


def test_a_size_that_json_parsers_do_not_keep_exactly_is_refused() -> None:
    parts: list[tuple[str, dict[str, Any], str]] = [
        ("model", {"kind": "baseline"}, "depth"),
        ("model", {"kind": "baseline"}, "width"),
        ("model", {"kind": "improved"}, "depth"),
        ("model", {"kind": "improved"}, "width"),
        ("data", {"source": "random"}, "samples"),
        ("data", {"source": "random"}, "features"),
        ("training", {}, "epochs"),
        ("training", {}, "batch_size"),
    ]
    for part, fields, size in parts:
        with pytest.raises(ValidationError) as refused:
            ExperimentSpec.model_validate({"model": "baseline", part: {**fields, size: MAX_INTEGER + 1}})

        assert [error["loc"][-1] for error in refused.value.errors()] == [size]


def test_repeated_tags_are_kept_once() -> None:
    assert ExperimentSpec.model_validate({"model": "baseline", "tags": ["b", "a", "b"]}).tags == ("b", "a")


def _recorded(body: dict[str, Any]) -> list[str]:
    return list(ExperimentSpec.model_validate({"model": "baseline", **body}).resolved().recording.statistics)


def test_the_gradient_norm_is_always_recorded_and_each_statistic_once_in_one_order() -> None:
    assert _recorded({"recording": {"statistics": []}}) == ["gradient_norm"]
    assert _recorded({"recording": {"statistics": ["weight_norm", "update_ratio", "weight_norm"]}}) == [
        *("gradient_norm", "update_ratio", "weight_norm"),
    ]


def test_a_resolved_spec_with_clipping_records_the_clipped_norm() -> None:
    clipping = {"training": {"gradient_clipping": {"by": "norm", "threshold": 1.0}}}

    assert _recorded(clipping) == ["gradient_norm", "clipped_norm"]
    assert _recorded({**clipping, "recording": {"statistics": ["clipped_norm"]}}) == ["gradient_norm", "clipped_norm"]


def test_an_optimizer_or_initializer_may_be_given_by_its_name() -> None:
    short = {"model": {"kind": "mlp", "kernel_initializer": "orthogonal"}, "training": {"optimizer": "sgd"}}
    long = {
        "model": {"kind": "mlp", "kernel_initializer": {"name": "orthogonal", "gain": 1.0}},
        "training": {"optimizer": {"name": "sgd", "learning_rate": 0.01}},
    }

    assert ExperimentSpec.model_validate(short) == ExperimentSpec.model_validate(long)


def test_a_resolved_perceptron_has_its_size_and_its_normalization_position() -> None:
    def resolved(**model: Any) -> dict[str, Any]:
        spec = ExperimentSpec.model_validate({"model": {"kind": "mlp", **model}}).resolved()
        return spec.model.model_dump(mode="json")

    plain, listed = resolved(), resolved(hidden_units=[3, 4])
    assert (plain["depth"], plain["width"], plain["hidden_units"]) == (11, 64, None)
    assert (listed["depth"], listed["width"], listed["hidden_units"]) == (None, None, [3, 4])
    assert plain["normalization_position"] == "after_activation"
    assert resolved(residual="pre_activation")["normalization_position"] == "before_activation"


def test_every_statistic_can_be_named_in_a_spec() -> None:
    every = [str(statistic) for statistic in Statistic if statistic is not Statistic.CLIPPED_NORM]

    assert _recorded({"recording": {"statistics": every[::-1]}}) == every


SPEC_OF_VERSION_0_1_0 = """{"name":null,"tags":["old"],"model":{"kind":"improved","depth":3,"width":8},
"data":{"source":"random","samples":1000,"features":20,"scale":"none","seed":7},
"training":{"epochs":5,"batch_size":32,"validation_split":0.2,"shuffle":true,"seed":7,
"optimizer":{"name":"adam","learning_rate":0.001,"beta_1":0.9,"beta_2":0.999,"epsilon":1e-07}}}"""


def test_a_spec_of_version_0_1_0_keeps_its_meaning() -> None:
    spec = ExperimentSpec.model_validate_json(SPEC_OF_VERSION_0_1_0)

    written = json.loads(SPEC_OF_VERSION_0_1_0)
    now = spec.resolved().model_dump(mode="json")
    assert spec.resolved() == spec
    assert {part: now[part] for part in ("name", "tags", "model", "data")} == {
        part: written[part] for part in ("name", "tags", "model", "data")
    }
    assert {field: now["training"][field] for field in written["training"] if field != "optimizer"} == {
        field: value for field, value in written["training"].items() if field != "optimizer"
    }
    assert now["recording"]["statistics"] == ["gradient_norm"]
    assert now["recording"]["every"] == 1


def test_an_integer_may_be_written_with_a_decimal_point() -> None:
    written = {
        "model": {"kind": "mlp", "hidden_units": [3.0, 4], "dropout": 0.0},
        "training": {"epochs": 2.0, "seed": 1e3, "learning_rate_schedule": {"name": "CosineDecay", "decay_steps": 1e2}},
    }

    spec = ExperimentSpec.model_validate(written).resolved()

    assert '"hidden_units":[3,4]' in spec.model_dump_json()
    assert '"epochs":2,' in spec.model_dump_json()
    assert (spec.training.seed, spec.data.seed) == (1000, 1000)
