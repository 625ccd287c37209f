"""The diagnosis of an experiment by a pack of rules."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.analysis.diagnosis import Diagnosis, PackName, diagnose
from service.analysis.theory import NoTheory, Prediction
from service.api.http.computing import Computing
from service.api.http.encoding import json_response, with_etag
from service.api.http.openapi import CONDITIONAL, ETAG, NOT_MODIFIED, problems
from service.api.http.tenancy import own
from service.application.evidence_reading import evidence_of, first_batch_of
from service.application.plans import Plans
from service.application.predictions import Predictions
from service.contract.plan import Plan
from service.store.experiment_handle import ExperimentHandle
from service.store.experiments import Experiments

OWN_RULES: PackName = "gradflow"  # the only pack that compares a profile with the theory of its initialization


def router(store: Experiments, plans: Plans, predictions: Predictions, computing: Computing) -> APIRouter:
    """`diagnosis` of an experiment."""
    routes = APIRouter(prefix="/v1/experiments/{experiment_id}", tags=["diagnosis"])
    stored = own(store)

    @routes.get(
        "/diagnosis",
        response_model=Diagnosis,
        responses={200: {"headers": ETAG}} | NOT_MODIFIED | problems(404, 422),
        openapi_extra=CONDITIONAL,
    )
    async def read(
        experiment_id: str,
        request: Request,
        store: Annotated[Experiments, stored],
        rules: Annotated[PackName, Query(description="The pack of rules.")] = OWN_RULES,
    ) -> Response:
        """Diagnose what an experiment has recorded so far, and recommend changes."""
        found = await computing.run(lambda: _diagnosed(store, plans, predictions, experiment_id, rules))
        return with_etag(request, json_response(found))

    return routes


def _diagnosed(
    store: Experiments, plans: Plans, predictions: Predictions, experiment_id: str, rules: PackName
) -> Diagnosis:
    experiment = store.open(experiment_id)
    planned = plans.of_record(experiment.record)
    prediction = _prediction(experiment, predictions, planned) if rules == OWN_RULES else None
    return diagnose(evidence_of(experiment, planned, prediction), rules)


def _prediction(experiment: ExperimentHandle, predictions: Predictions, planned: Plan) -> Prediction | None:
    try:
        return predictions.prediction(planned, first_batch_of(experiment, planned))
    except NoTheory:
        return None
