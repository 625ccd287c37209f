"""Strategies for every spec that the schema allows, in sizes that train in a moment."""

from typing import Any, get_args

from hypothesis import strategies as st

from service.contract.model_spec import HiddenActivation
from service.contract.recording_spec import Statistic
from service.contract.training_spec import Loss, Monitor

Json = dict[str, Any]

small = st.floats(0.01, 2.0)
initializers = st.one_of(
    st.sampled_from(
        [
            *("zeros", "ones", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform"),
            *("lecun_normal", "orthogonal", "identity", "random_normal", "random_uniform", "truncated_normal"),
        ]
    ),
    st.fixed_dictionaries(
        {"name": st.just("variance_scaling")},
        optional={
            "scale": small,
            "mode": st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
            "distribution": st.sampled_from(["truncated_normal", "untruncated_normal", "uniform"]),
        },
    ),
    st.fixed_dictionaries({"name": st.just("orthogonal"), "gain": small}),
    st.fixed_dictionaries({"name": st.just("normal"), "stddev": small}),
    st.fixed_dictionaries({"name": st.just("constant"), "value": st.floats(-1, 1)}),
)

widths = st.one_of(
    st.fixed_dictionaries({}, optional={"depth": st.integers(1, 4), "width": st.integers(1, 6)}),
    st.fixed_dictionaries({"hidden_units": st.lists(st.integers(1, 6), min_size=1, max_size=4)}),
)
mlps = st.builds(
    lambda width, rest: {"kind": "mlp", **width, **rest},
    widths,
    st.fixed_dictionaries(
        {},
        optional={
            "activation": st.sampled_from(get_args(HiddenActivation)),
            "kernel_initializer": initializers,
            "bias_initializer": initializers,
            "output_kernel_initializer": initializers,
            "normalization": st.sampled_from(["none", "batch", "layer"]),
            "normalization_position": st.sampled_from(["after_activation", "before_activation"]),
            "residual": st.sampled_from(["none", "post_activation", "pre_activation"]),
            "residual_scale": st.one_of(small, st.just("1/sqrt(depth)")),
            "dropout": st.floats(0, 0.9),
        },
    ),
)
presets = st.one_of(
    st.sampled_from(["baseline", "improved"]),
    st.fixed_dictionaries({"kind": st.sampled_from(["baseline", "improved"]), "depth": st.integers(1, 3)}),
)

samples = st.integers(2, 60)
data = st.one_of(
    st.fixed_dictionaries({"source": st.just("random"), "samples": samples, "features": st.integers(1, 9)}),
    st.fixed_dictionaries({"source": st.sampled_from(["iris", "wine", "diabetes", "breast_cancer"])}),
    st.fixed_dictionaries({"source": st.just("digits"), "shape": st.sampled_from([[8, 8], [8, 8, 1], [64], [63]])}),
    st.fixed_dictionaries({"source": st.sampled_from(["circles", "moons", "two_spirals"]), "samples": samples}),
    st.fixed_dictionaries({"source": st.just("blobs"), "samples": samples, "classes": st.integers(2, 4)}),
    st.fixed_dictionaries({"source": st.just("parity"), "samples": samples, "bits": st.integers(1, 9)}),
    st.fixed_dictionaries({"source": st.just("teacher"), "samples": samples, "classes": st.integers(2, 4)}),
    st.fixed_dictionaries({"source": st.just("adding_problem"), "samples": samples, "length": st.integers(2, 6)}),
    st.fixed_dictionaries(
        {"source": st.just("copy_memory"), "samples": samples, "encoding": st.sampled_from(["one_hot", "tokens"])}
    ),
)
scaled = st.builds(lambda d, s: {**d, "scale": s}, data, st.sampled_from(["none", "standard", "minmax"]))

rates = st.floats(1e-5, 0.5)
optimizers = st.one_of(
    st.sampled_from(["adam", "adamw", "sgd", "rmsprop", "adagrad"]),
    st.fixed_dictionaries({"name": st.just("adam"), "learning_rate": rates, "amsgrad": st.booleans()}),
    st.fixed_dictionaries({"name": st.just("adamw"), "weight_decay": st.floats(0, 0.1)}),
    st.fixed_dictionaries({"name": st.just("sgd"), "momentum": st.floats(0, 0.9), "nesterov": st.booleans()}),
    st.fixed_dictionaries({"name": st.just("rmsprop"), "momentum": st.floats(0, 0.9), "centered": st.booleans()}),
    st.fixed_dictionaries({"name": st.just("adagrad"), "initial_accumulator_value": st.floats(0, 1)}),
)
schedules = st.sampled_from(
    [
        {"name": "ExponentialDecay", "decay_steps": 3, "decay_rate": 0.5, "staircase": True},
        {"name": "PiecewiseConstantDecay", "boundaries": [2, 4], "values": [0.1, 0.01, 0.0]},
        {"name": "PolynomialDecay", "decay_steps": 4, "cycle": True},
        {"name": "InverseTimeDecay", "decay_steps": 2, "decay_rate": 0.5},
        {"name": "CosineDecay", "decay_steps": 5, "warmup_target": 0.1, "warmup_steps": 2},
        {"name": "CosineDecayRestarts", "first_decay_steps": 2},
    ]
)
training = st.fixed_dictionaries(
    {"epochs": st.integers(1, 2), "batch_size": st.integers(1, 40)},
    optional={
        "validation_split": st.sampled_from([0.0, 0.2, 0.5]),
        "shuffle": st.booleans(),
        "seed": st.integers(0, 5),
        "loss": st.sampled_from(get_args(Loss)),
        "optimizer": optimizers,
        "learning_rate_schedule": schedules,
        "early_stopping": st.fixed_dictionaries(
            {"monitor": st.sampled_from(get_args(Monitor))}, optional={"restore_best_weights": st.booleans()}
        ),
        "precision": st.sampled_from(["float32", "float64"]),
        "gradient_clipping": st.fixed_dictionaries(
            {"by": st.sampled_from(["value", "norm", "global_norm"]), "threshold": st.floats(1e-3, 10)}
        ),
        "stop_on_divergence": st.booleans(),
    },
)
recordings = st.fixed_dictionaries(
    {},
    optional={
        "every": st.integers(1, 7),
        "statistics": st.lists(st.sampled_from(list(Statistic)), max_size=6).map(lambda s: [str(x) for x in s]),
        "keep_model": st.booleans(),
    },
)


def specs(models: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """Draw specs with these models, as JSON values."""
    return st.fixed_dictionaries(
        {"model": models, "data": scaled, "training": training}, optional={"recording": recordings}
    )
