"""What theory predicts of a network's gradients at step 0, alone or beside what a run has measured there."""

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from service.analysis.profile import levels, log10_profile, slope
from service.analysis.stored_history import unpacked
from service.analysis.theory import NoTheory, Prediction
from service.api.http.bodies import BodyLimits, json_route
from service.api.http.computing import Computing
from service.api.http.encoding import json_response, with_etag
from service.api.http.openapi import CONDITIONAL, ETAG, JSON_BODY_PROBLEMS, NOT_MODIFIED, problems
from service.api.http.tenancy import own
from service.application.evidence_reading import first_batch_of
from service.application.plans import Plans
from service.application.predictions import Predictions
from service.application.submission import Submissions
from service.contract.errors import InvalidSpec, NotFound
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from service.contract.resolved_spec import ResolvedSpec
from service.contract.spec import ExperimentSpec
from service.store.experiments import Experiments

NO_STEP = "no step has been recorded yet: this is the prediction from the spec alone"
TOO_LARGE = "the first batch is larger than 1 MiB and was not kept: this is the prediction from the spec alone"
NOT_THERE = (
    "the first batch is not there, or not finite: this is the prediction from the spec alone, which knows neither the "
    "rows nor the labels of this run"
)


class LayerTheory(BaseModel):
    """The gradient of a variable at step 0."""

    name: str = Field(description="`layer/role`, as in `gradients`.")
    layer: str
    depth: int
    role: str
    log10_norm: float = Field(description="Expected log10 of the Frobenius norm of the batch-mean gradient.")
    spread: float = Field(description="One standard deviation of it over seeds at these widths, in decades.")


class PhaseAnswer(BaseModel):
    """Where repeated layers lead (Schoenholz et al. 2017); null where there is no such number."""

    name: Literal["ordered", "critical", "chaotic"]
    q_star: float | None = Field(description="Variance of the pre-activations at the fixed point.")
    chi_1: float | None = Field(description="Mean squared singular value of a layer's Jacobian there.")
    c_star: float | None = Field(description="Correlation that any two inputs come to.")
    xi_q: float | None = Field(description="Layers in which the variance comes e times closer.")
    xi_c: float | None = Field(description="Layers in which the correlation does.")


class TheoryAnswer(BaseModel):
    """The gradients of a network at step 0 as mean-field theory has them."""

    form: Literal["a_priori", "conditional"] = Field(
        description="`conditional` knows the rows and the errors of the run's first batch, `a_priori` the spec alone."
    )
    slope: float | None = Field(description="Decades lost a layer towards the input, over the hidden kernels.")
    level: float | None = Field(description="Mean of log10 of the norm over the same kernels.")
    layers: list[LayerTheory] = Field(description="From input to output.")
    phase: PhaseAnswer | None = Field(description="Null where the hidden layers do not repeat.")
    caveats: list[str] = Field(description="Where theory is known to be loose, and by how much.")


class LayerBesideMeasurement(LayerTheory):
    """The same, and what was measured."""

    measured_log10_norm: float | None = Field(description="Null before step 0, and where the norm is 0 or not finite.")


class TheoryBesideMeasurement(TheoryAnswer):
    """Theory beside a run's step 0."""

    layers: list[LayerBesideMeasurement]  # type: ignore[assignment]
    measured_slope: float | None
    measured_level: float | None


def router(
    store: Experiments,
    submissions: Submissions,
    plans: Plans,
    predictions: Predictions,
    bodies: BodyLimits,
    computing: Computing,
) -> APIRouter:
    """`POST /v1/theory` and `GET /v1/experiments/{id}/theory`."""
    routes = APIRouter(prefix="/v1", tags=["theory"], route_class=json_route(bodies))
    stored, use_cases = own(store), own(submissions)

    @routes.post("/theory", response_model=TheoryAnswer, responses=problems(*JSON_BODY_PROBLEMS))
    async def predict(spec: ExperimentSpec, submissions: Annotated[Submissions, use_cases]) -> Response:
        """What a spec would begin with. Nothing is trained, queued or kept."""

        def answer() -> Prediction:
            accepted, _ = submissions.checked(ResolvedSpec.of(spec))
            try:
                return predictions.prediction(accepted.plan)
            except NoTheory as error:
                raise InvalidSpec(("model",), str(error)) from error

        return json_response(_described(await computing.done(answer)))

    @routes.get(
        "/experiments/{experiment_id}/theory",
        response_model=TheoryBesideMeasurement,
        responses={200: {"headers": ETAG}} | NOT_MODIFIED | problems(404),
        openapi_extra=CONDITIONAL,
    )
    async def read(experiment_id: str, request: Request, store: Annotated[Experiments, stored]) -> Response:
        """The predicted profile of a run beside the measured one at step 0; 404 for networks without a theory."""
        answer = await computing.done(lambda: _beside_measurement(store, plans, predictions, experiment_id))
        return with_etag(request, json_response(answer))

    return routes


def _described(found: Prediction) -> dict[str, object]:
    return {name: getattr(found, name) for name in TheoryAnswer.model_fields}


def _beside_measurement(
    store: Experiments, plans: Plans, predictions: Predictions, experiment_id: str
) -> dict[str, object]:
    planned = plans.of_record(store.get(experiment_id))
    batch = first_batch_of(store, experiment_id, planned)
    try:
        found = predictions.prediction(planned, batch)
    except NoTheory as error:
        raise NotFound(f"there is no theory of this run: {error}") from error
    norms = _norms_at_first(store, experiment_id, planned)
    kernels = [norms[variable.name] for variable in planned.variables if variable.role == "kernel"]
    measured = dict(zip(norms, log10_profile(list(norms.values())), strict=True))
    body = _described(found)
    body["layers"] = [{**vars(layer), "measured_log10_norm": measured[layer.name]} for layer in found.layers]
    body |= {"measured_slope": slope(kernels), "measured_level": levels([kernels])[0]}
    if found.form == "a_priori":
        body["caveats"] = [*found.caveats, _why_a_priori(planned, bool(np.isnan(kernels).all()))]
    return body


def _norms_at_first(store: Experiments, experiment_id: str, planned: Plan) -> dict[str, float]:
    """Of each variable at step 0, NaN before it."""
    row = store.series(experiment_id, Statistic.GRADIENT_NORM, planned.bytes_per_step(Statistic.GRADIENT_NORM), 0, 1)
    found = unpacked(row, planned, Statistic.GRADIENT_NORM, 0)
    values = found.values[:, 0].tolist() if len(found.steps) else [np.nan] * len(found.variables)
    return dict(zip((variable.name for variable in found.variables), values, strict=True))


def _why_a_priori(planned: Plan, nothing_measured: bool) -> str:
    if not planned.first_batch_bytes:
        return TOO_LARGE
    return NO_STEP if nothing_measured else NOT_THERE
