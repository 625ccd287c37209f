"""A case of the benchmark: a seeded fault with its healthy twin, or a healthy control."""

import hashlib
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

from service.contract.data_shape import shape_of
from service.contract.plan import Plan, plan
from service.contract.recording_spec import Statistic
from service.contract.spec import ExperimentSpec

Json = dict[str, Any]

RECORDED_STEPS = 250  # approximate number of recorded steps of a long run; short runs record every step
STATISTICS = tuple(s for s in Statistic if s is not Statistic.CLIPPED_NORM)  # which is recorded whenever clipping is on


class Part(Enum):
    """The parts of the benchmark; the value is the first of the million seeds of a part.

    The seed of a case is the first seed of its part, plus a thousand times the index of its family, plus its number in
    the family. It is `training.seed`, and therefore `data.seed`, of both runs of the case. All other choices come from
    a random generator with the first seed of the part. The parts share no seed.
    """

    DEVELOPMENT = 1_000_000
    HELD_OUT = 2_000_000  # evaluated once, with an earlier version of the rules
    SECOND_HELD_OUT = 3_000_000  # for the rules after the second development part
    SECOND_DEVELOPMENT = 4_000_000  # exploding networks, and the healthy networks most similar to them

    @property
    def is_held_out(self) -> bool:
        """Whether the part must not be used to develop rules."""
        return self in (Part.HELD_OUT, Part.SECOND_HELD_OUT)


@dataclass(frozen=True)
class Case:
    """One case: the specs of a run and of its twin."""

    family: str
    number: int  # number within its family and part
    spec: Json
    twin: Json | None = None  # the same run without the fault; None for a healthy control
    layers: tuple[str, ...] = ()  # for a fault in one layer, the names that are right for that layer

    @property
    def name(self) -> str:
        """The name of the case within its part."""
        return f"{self.family}-{self.number:03}"

    @property
    def is_fault(self) -> bool:
        """Whether the case has a fault."""
        return self.twin is not None

    @cached_property
    def runs(self) -> tuple["RunSpec", ...]:
        """The runs to train: the run itself, then its twin."""
        return (RunSpec.of(self.spec), *([] if self.twin is None else [RunSpec.of(self.twin)]))


@dataclass(frozen=True)
class RunSpec:
    """One run to train; equal specs are trained once."""

    spec: ExperimentSpec  # resolved, with all defaults

    @classmethod
    def of(cls, spec: Json) -> "RunSpec":
        """The run of a spec, with all statistics recorded at about RECORDED_STEPS steps."""
        asked = ExperimentSpec.model_validate({**spec, "recording": {"statistics": STATISTICS}}).resolved()
        steps = plan(asked, shape_of(asked.data)).work.total_steps
        every = max(1, round(steps / RECORDED_STEPS))
        return cls(asked.model_copy(update={"recording": asked.recording.model_copy(update={"every": every})}))

    @cached_property
    def plan(self) -> Plan:
        """The plan of the spec."""
        return plan(self.spec, shape_of(self.spec.data))

    @cached_property
    def key(self) -> str:
        """The name of the file of this run: 20 hexadecimal digits."""
        return hashlib.sha256(self.spec.model_dump_json().encode()).hexdigest()[:20]


def seeded(case: Case, seed: int) -> Case:
    """The case with this seed in both runs."""

    def with_seed(spec: Json) -> Json:
        return {**spec, "training": {**spec["training"], "seed": seed}}

    return replace(case, spec=with_seed(case.spec), twin=None if case.twin is None else with_seed(case.twin))
