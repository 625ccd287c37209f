"""Random streams are reproducible and independent."""

from hypothesis import given
from hypothesis import strategies as st

from service.contract.spec_part import MAX_INTEGER
from worker.training.seeds import Stream, generator

SEEDS = st.integers(0, MAX_INTEGER)


def numbers(seed: int, stream: Stream, *index: int) -> tuple[int, ...]:
    return tuple(generator(seed, stream, *index).integers(0, 2**62, 4).tolist())


@given(seed=SEEDS, stream=st.sampled_from(Stream), index=st.integers(0, 1000))
def test_equal_arguments_give_equal_streams(seed: int, stream: Stream, index: int) -> None:
    assert numbers(seed, stream) == numbers(seed, stream)
    assert numbers(seed, stream, index) == numbers(seed, stream, index)


@given(seed=SEEDS)
def test_streams_and_indices_give_different_numbers(seed: int) -> None:
    drawn = [numbers(seed, stream, *index) for stream in Stream for index in ((), (0,), (1,), (2,))]

    assert len(set(drawn)) == len(drawn)


@given(seeds=st.sets(SEEDS, min_size=2, max_size=2), stream=st.sampled_from(Stream))
def test_another_seed_gives_another_stream(seeds: set[int], stream: Stream) -> None:
    one, other = seeds

    assert numbers(one, stream) != numbers(other, stream)
