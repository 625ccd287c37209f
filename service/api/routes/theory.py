"""The gradients at step 0 that the theory predicts for a spec, and for a run next to the measured ones."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import Field

from service.analysis.profile import levels, log10_profile, slope
from service.analysis.stored_history import unpacked
from service.analysis.theory import NoTheory, Prediction
from service.analysis.theory.prediction import LayerPrediction
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
from service.store.experiment_handle import ExperimentHandle
from service.store.experiments import Experiments

NO_STEP = "no step has been recorded yet: this is the prediction from the spec alone"
BATCH_TOO_LARGE = "the first batch is larger than 1 MiB and was not kept: this is the prediction from the spec alone"
NO_BATCH = (
    "the first batch was not kept or is not finite: this is the prediction from the spec alone, without the samples "
    "and labels of this run"
)


@dataclass(frozen=True)
class LayerComparison(LayerPrediction):
    """Predicted and measured gradient norm of one variable at step 0."""

    measured_log10_norm: Annotated[
        float | None, Field(description="Null before step 0, and if the norm is 0 or not finite.")
    ]


@dataclass(frozen=True)
class TheoryComparison(Prediction):
    """Predicted profile of a run, and the measured profile at step 0."""

    layers: Annotated[tuple[LayerComparison, ...], Field(description="From input to output.")]
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

    @routes.post("/theory", response_model=Prediction, responses=problems(*JSON_BODY_PROBLEMS))
    async def predict(spec: ExperimentSpec, submissions: Annotated[Submissions, use_cases]) -> Response:
        """Predict the gradients of a spec at step 0. Nothing is trained, queued or stored."""

        def answer() -> Prediction:
            planned = submissions.plan(ResolvedSpec.of(spec))
            try:
                return predictions.prediction(planned)
            except NoTheory as error:
                raise InvalidSpec(("model",), str(error)) from error

        return json_response(await computing.run(answer))

    @routes.get(
        "/experiments/{experiment_id}/theory",
        response_model=TheoryComparison,
        responses={200: {"headers": ETAG}} | NOT_MODIFIED | problems(404),
        openapi_extra=CONDITIONAL,
    )
    async def read(experiment_id: str, request: Request, store: Annotated[Experiments, stored]) -> Response:
        """Read the predicted and the measured profile of a run at step 0; 404 without a theory of the network."""
        answer = await computing.run(lambda: _compared(store, plans, predictions, experiment_id))
        return with_etag(request, json_response(answer))

    return routes


def _compared(store: Experiments, plans: Plans, predictions: Predictions, experiment_id: str) -> TheoryComparison:
    experiment = store.open(experiment_id)
    planned = plans.of_record(experiment.record)
    batch = first_batch_of(experiment, planned)
    try:
        found = predictions.prediction(planned, batch)
    except NoTheory as error:
        raise NotFound(f"the theory does not cover this run: {error}") from error
    norms = _norms_at_step_0(experiment, planned)
    kernels = [norms[variable.name] for variable in planned.variables if variable.role == "kernel"]
    measured = dict(zip(norms, log10_profile(list(norms.values())), strict=True))
    caveats = found.caveats
    if found.form == "a_priori":
        caveats = (*caveats, _why_a_priori(planned, bool(np.isnan(kernels).all())))
    return TheoryComparison(
        form=found.form,
        slope=found.slope,
        level=found.level,
        layers=tuple(
            LayerComparison(**vars(layer), measured_log10_norm=measured[layer.name]) for layer in found.layers
        ),
        phase=found.phase,
        caveats=caveats,
        measured_slope=slope(kernels),
        measured_level=levels([kernels])[0],
    )


def _norms_at_step_0(experiment: ExperimentHandle, planned: Plan) -> dict[str, float]:
    """The norm of each variable at step 0; NaN if it is not recorded yet."""
    row = experiment.series(Statistic.GRADIENT_NORM, planned.bytes_per_step(Statistic.GRADIENT_NORM), 0, 1)
    found = unpacked(row, planned, Statistic.GRADIENT_NORM, 0)
    values = found.values[:, 0].tolist() if len(found.steps) else [np.nan] * len(found.variables)
    return dict(zip((variable.name for variable in found.variables), values, strict=True))


def _why_a_priori(planned: Plan, nothing_measured: bool) -> str:
    if not planned.first_batch_bytes:
        return BATCH_TOO_LARGE
    return NO_STEP if nothing_measured else NO_BATCH
