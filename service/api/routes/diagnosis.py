"""What is wrong with a run, by a pack of rules over what it has recorded so far."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from service.analysis.diagnosis import Diagnosis, PackName, Symptom, diagnose
from service.analysis.theory import NoTheory, Prediction
from service.api.http.computing import Computing
from service.api.http.encoding import json_response, with_etag
from service.api.http.openapi import CONDITIONAL, ETAG, NOT_MODIFIED, problems
from service.api.http.tenancy import own
from service.application.evidence_reading import evidence_of, first_batch_of
from service.application.plans import Plans
from service.application.predictions import Predictions
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from service.store.experiments import Experiments

OUR_OWN: PackName = "gradflow"  # the one that asks theory whether a profile is what the initialization must give


class RemedyAnswer(BaseModel):
    """A change that should help."""

    change: dict[str, Any] = Field(description="Dotted path in the spec -> value, as the axes of a study have it.")
    reason: str


class FindingAnswer(BaseModel):
    """One symptom, where and when it was seen, and the numbers that it rests on."""

    symptom: Symptom
    severity: Literal["info", "warning", "critical"]
    layers: list[str] = Field(description="From input to output; empty where it is of the whole run.")
    steps: tuple[int, int] = Field(description="The first and the last step concerned.")
    rule: str
    observed: float | None
    threshold: float | None = Field(description="What `observed` was compared with.")
    confidence: float = Field(ge=0, le=1, description="How sure the finding is.")
    explanation: str = Field(description="In words, with numbers that `gradients` and `metrics` give too.")
    remedies: list[RemedyAnswer]


class NotEvaluatedAnswer(BaseModel):
    """A rule that had nothing to go by."""

    rule: str
    symptom: Symptom
    needs: list[Statistic] = Field(description="To be named in `recording.statistics`.")
    reason: str


class DiagnosisAnswer(BaseModel):
    """What a pack of rules says of a run."""

    verdict: str = Field(description="The gravest symptom, `healthy`, or `not_evaluated` where no rule could judge.")
    rules: PackName
    findings: list[FindingAnswer] = Field(description="The gravest first.")
    not_evaluated: list[NotEvaluatedAnswer]


def router(store: Experiments, plans: Plans, predictions: Predictions, computing: Computing) -> APIRouter:
    """`diagnosis` of an experiment."""
    routes = APIRouter(prefix="/v1/experiments/{experiment_id}", tags=["diagnosis"])
    stored = own(store)

    @routes.get(
        "/diagnosis",
        response_model=DiagnosisAnswer,
        responses={200: {"headers": ETAG}} | NOT_MODIFIED | problems(404, 422),
        openapi_extra=CONDITIONAL,
    )
    async def read(
        experiment_id: str,
        request: Request,
        store: Annotated[Experiments, stored],
        rules: Annotated[PackName, Query(description="The pack of rules that judges.")] = OUR_OWN,
    ) -> Response:
        """What is wrong with a run, and what to change; of one that still runs, so far."""
        found = await computing.done(lambda: _diagnosed(store, plans, predictions, experiment_id, rules))
        return with_etag(request, json_response(asdict(found)))

    return routes


def _diagnosed(
    store: Experiments, plans: Plans, predictions: Predictions, experiment_id: str, rules: PackName
) -> Diagnosis:
    record = store.get(experiment_id)
    planned = plans.of_record(record)
    prediction = _prediction(store, predictions, experiment_id, planned) if rules == OUR_OWN else None
    return diagnose(evidence_of(store, record, planned, prediction), rules)


def _prediction(store: Experiments, predictions: Predictions, experiment_id: str, planned: Plan) -> Prediction | None:
    try:
        return predictions.prediction(planned, first_batch_of(store, experiment_id, planned))
    except NoTheory:
        return None
