"""The API: every part is made and joined here, by argument; nothing connects at import."""

from fastapi import FastAPI

from service import problems
from service.contract.settings import RedisSettings
from service.contract.store import Store, connect
from service.contract.workload import Limits
from service.publisher import CeleryPublisher
from service.routes import experiments, health, history
from service.settings import ApiSettings
from service.submission import Publisher, Submissions

DESCRIPTION = "Trains deep networks on request and shows where their gradients die."


def create_app(store: Store, publisher: Publisher, settings: ApiSettings, limits: Limits) -> FastAPI:
    """The application over these parts."""
    app = FastAPI(
        title="gradflow",
        version="1",
        description=DESCRIPTION,
        redirect_slashes=False,
    )
    problems.install(app, settings.retry_after_s)
    app.include_router(experiments.router(store, Submissions(store, publisher, limits), settings.max_body_bytes))
    app.include_router(history.router(store))
    app.include_router(health.router(store))
    return app


def create_app_from_environment() -> FastAPI:
    """The application as the environment describes it: `uvicorn --factory service.app:create_app_from_environment`."""
    redis = RedisSettings()
    return create_app(Store(connect(redis)), CeleryPublisher(redis), ApiSettings(), Limits())
