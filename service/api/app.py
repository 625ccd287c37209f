"""The FastAPI application over parts that are given; `service.api.composition` makes them."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from service.api import access, problems
from service.api.http.bodies import BodyLimits
from service.api.http.computing import Computing
from service.api.http.openapi import DocumentedApi
from service.api.routes import datasets as datasets_routes
from service.api.routes import diagnosis, events, experiments, health, history, theory
from service.api.routes import studies as studies_routes
from service.api.settings import ApiSettings
from service.application.admission_control import AdmissionControl
from service.application.plans import Plans
from service.application.predictions import Predictions
from service.application.study_submission import StudySubmissions
from service.application.submission import Publisher, Submissions
from service.contract.workload import Limits
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.keys import Keys
from service.store.migration import BackgroundMigration
from service.store.studies import Studies
from service.store.sweeper import Sweeper
from service.uploads.intake import Intake
from service.uploads.table import UploadLimits

DESCRIPTION = "Trains deep networks on request and shows where their gradients die."


def create_app(
    store: Experiments,
    studies: Studies,
    datasets: Datasets,
    keys: Keys,
    publisher: Publisher,
    settings: ApiSettings,
    limits: Limits,
    *,
    admission_control: AdmissionControl | None = None,
    sweeper: Sweeper | None = None,
    clock: Callable[[], float] = time.monotonic,
    migration: BackgroundMigration | None = None,
) -> FastAPI:
    """Return the application over these parts; sweeper and migration, if given, run while it is served."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if migration is not None:
            await run_in_threadpool(migration.start)
        if sweeper is not None:
            sweeper.start()
        yield
        if migration is not None:
            migration.stop()
        if sweeper is not None:
            sweeper.stop()

    app = DocumentedApi(
        title="gradflow",
        version="1",
        description=DESCRIPTION,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    problems.install(app, settings.retry_after_s)
    app.add_middleware(access.Access, keys=keys, settings=settings, clock=clock)
    predictions = Predictions()
    plans = Plans(predictions)
    submissions = Submissions(store, datasets, publisher, plans, limits, admission_control)
    intake = Intake(datasets, UploadLimits(), settings.datasets_bytes)
    bodies = BodyLimits(settings.max_body_bytes, settings.body_idle_s)
    files = BodyLimits(settings.max_upload_bytes, settings.body_idle_s)
    app.include_router(experiments.router(store, submissions, bodies))
    app.include_router(history.router(store, plans))
    computing = Computing()
    app.include_router(theory.router(store, submissions, plans, predictions, bodies, computing))
    app.include_router(diagnosis.router(store, plans, predictions, computing))
    app.include_router(events.router(store, plans, settings.event_readers))
    study_submissions = StudySubmissions(studies, submissions, publisher, limits)
    app.include_router(studies_routes.router(studies, study_submissions, bodies))
    app.include_router(datasets_routes.router(datasets, intake, files, settings.uploads))
    app.include_router(health.router(store, settings.retry_after_s))
    return app
