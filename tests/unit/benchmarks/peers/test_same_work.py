"""The peers that gradflow is compared with do the same work."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine.steps import preset
from benchmarks.peers.peer import NotInstalled, Peer
from benchmarks.peers.same_work import difference, write_job
from benchmarks.peers.turns import layers_of, load

STEPS = 25  # of one epoch


@pytest.mark.parametrize("model", ["baseline", "improved"])
def test_jax_computes_the_same_losses_and_norms_as_gradflow(model: str, tmp_path: Path) -> None:
    planned = preset(model, training={"precision": "float64"})
    job = write_job(planned, tmp_path / "job.npz")
    try:
        with Peer("jax_scan", str(job), model, needs="jax", environment={"JAX_ENABLE_X64": "1"}) as jax:
            found = difference(planned, jax, STEPS)
    except NotInstalled as missing:
        pytest.skip(str(missing))

    assert found.loss < 1e-9
    assert found.norm < 1e-9


@pytest.mark.parametrize("model", ["baseline", "improved"])
def test_pytorch_computes_the_same_loss_and_norms_in_the_first_step(model: str, tmp_path: Path) -> None:
    planned = preset(model)
    job = write_job(planned, tmp_path / "job.npz")
    try:
        with Peer("torch_loop", str(job), model, needs="torch") as torch:
            found = difference(planned, torch, 1)
            later = difference(planned, torch, 5)
    except NotInstalled as missing:
        pytest.skip(str(missing))

    assert found.loss < 1e-5
    assert found.norm < 1e-5
    assert later.loss < 0.02  # PyTorch's Adam adds epsilon to another square root


def test_a_peer_gets_every_variable_from_input_to_output(tmp_path: Path) -> None:
    planned = preset("improved")

    x, y, variables = load(str(write_job(planned, tmp_path / "job.npz")))
    layers = layers_of(variables, ("kernel", "bias", "gamma", "beta"))

    assert x.shape == (800, 20)
    assert sorted(set(y)) == [0, 1]
    assert len(variables) == len(planned.variables)
    assert len(layers) == 12
    assert layers[0]["kernel"].shape == (20, 64)
    assert np.all(layers[5]["gamma"] == 1)
    assert list(layers[-1]) == ["kernel", "bias"]
    assert layers[-1]["kernel"].shape == (64, 1)


def test_an_error_names_the_missing_library_of_a_peer(tmp_path: Path) -> None:
    with pytest.raises(NotInstalled, match="no-such-library is not installed"):
        Peer("jax_scan", str(tmp_path), "baseline", needs="no-such-library")


def test_the_peer_of_keras_returns_times_of_a_new_network_and_of_a_repeated_fit() -> None:
    with Peer("keras_fit", "baseline") as keras:
        new = keras.ask(new={"kind": "baseline", "depth": 1, "width": 4})
        again = keras.ask(again=True)

    assert 0 < again["seconds"] < new["seconds"]
