"""A seeded fault beside its healthy twin, or a healthy control: specs and what a diagnosis should say of them."""

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

RECORDED_STEPS = 250  # about so many of each run are kept: shorter ones whole
STATISTICS = tuple(s for s in Statistic if s is not Statistic.CLIPPED_NORM)  # that follows from clipping by itself


class Part(Enum):
    """The parts of the benchmark; the value is the first of a part's million seeds.

    A case's seed is the first of its part, plus a thousand times its family's place, plus its number in the family. It
    is `training.seed` and so `data.seed` of both its runs; all other choices are drawn from a generator of the same
    first seed. No seed of one part is one of another.
    """

    DEVELOPMENT = 1_000_000
    HELD_OUT = 2_000_000  # judged once, with the rules as they were then
    SECOND_HELD_OUT = 3_000_000  # for the rules as they became on the second development part
    SECOND_DEVELOPMENT = 4_000_000  # what explodes, and the healthy shapes nearest to it

    @property
    def is_held_out(self) -> bool:
        """Whether no rule may be made with it."""
        return self in (Part.HELD_OUT, Part.SECOND_HELD_OUT)


@dataclass(frozen=True)
class Case:
    """One question to a rule pack."""

    family: str
    number: int  # within its family and part
    spec: Json
    twin: Json | None = None  # the same run without the fault; None: this is a healthy control
    layers: tuple[str, ...] = ()  # where the fault is in one layer: that one, or all names that are right for it

    @property
    def name(self) -> str:
        """Within its part."""
        return f"{self.family}-{self.number:03}"

    @property
    def is_fault(self) -> bool:
        """Whether a fault was seeded."""
        return self.twin is not None

    @cached_property
    def runs(self) -> tuple["RunSpec", ...]:
        """What is to be trained: the run itself, then its twin."""
        return (RunSpec.of(self.spec), *([] if self.twin is None else [RunSpec.of(self.twin)]))


@dataclass(frozen=True)
class RunSpec:
    """One run to train; equal specs are trained once."""

    spec: ExperimentSpec  # resolved

    @classmethod
    def of(cls, spec: Json) -> "RunSpec":
        """With everything recorded, at a distance of steps that suits its length."""
        asked = ExperimentSpec.model_validate({**spec, "recording": {"statistics": STATISTICS}}).resolved()
        steps = plan(asked, shape_of(asked.data)).work.total_steps
        every = max(1, round(steps / RECORDED_STEPS))
        return cls(asked.model_copy(update={"recording": asked.recording.model_copy(update={"every": every})}))

    @cached_property
    def plan(self) -> Plan:
        """What the spec comes to."""
        return plan(self.spec, shape_of(self.spec.data))

    @cached_property
    def key(self) -> str:
        """A name for the file of this run: 20 hexadecimal digits."""
        return hashlib.sha256(self.spec.model_dump_json().encode()).hexdigest()[:20]


def seeded(case: Case, seed: int) -> Case:
    """The case with its seed in both runs."""

    def with_seed(spec: Json) -> Json:
        return {**spec, "training": {**spec["training"], "seed": seed}}

    return replace(case, spec=with_seed(case.spec), twin=None if case.twin is None else with_seed(case.twin))
