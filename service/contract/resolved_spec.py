"""An experiment spec without open defaults, and its JSON text.

A function that takes a `ResolvedSpec` needs neither to resolve nor to serialize the spec: both happen once.
"""

from dataclasses import dataclass
from functools import cached_property

from service.contract.spec import ExperimentSpec


@dataclass(frozen=True)
class ResolvedSpec:
    """A resolved spec. Create it with `of`."""

    spec: ExperimentSpec

    @classmethod
    def of(cls, spec: ExperimentSpec) -> "ResolvedSpec":
        """Resolve a spec; a spec that is resolved already stays the same."""
        return cls(spec.resolved())

    @cached_property
    def text(self) -> str:
        """The spec as JSON, which is also the form in which it is stored."""
        return self.spec.model_dump_json()

    @cached_property
    def template(self) -> ExperimentSpec:
        """The spec without name, tags and seeds. Specs with equal templates have plans that differ only in `spec`."""
        data = self.spec.data.model_copy(update={"seed": None})
        training = self.spec.training.model_copy(update={"seed": 0})
        return self.spec.model_copy(update={"name": None, "tags": (), "data": data, "training": training})
