"""The composition root: the only place in which the parts of the application are made and joined.

`gradflow serve`, `gradflow up`, `uvicorn --factory service.api.composition:app_from_environment` and the tests use it.
Every part comes by argument, and nothing connects at import.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import redis
from fastapi import FastAPI

from service.api.app import create_app
from service.api.settings import ApiSettings
from service.application.admission_control import AdmissionControl
from service.application.submission import Publisher
from service.contract.workload import Limits
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.keys import Keys
from service.store.migration import BackgroundMigration, Migration
from service.store.publisher import CeleryPublisher
from service.store.settings import LeaseSettings, RedisSettings
from service.store.studies import Studies
from service.store.sweeper import Sweeper


@dataclass(frozen=True)
class Stores:
    """The stores over one client of Redis."""

    client: redis.Redis
    experiments: Experiments
    attempts: Attempts
    studies: Studies
    datasets: Datasets
    keys: Keys
    migration: Migration

    @classmethod
    def over(cls, client: redis.Redis, leases: LeaseSettings) -> "Stores":
        """Return the stores over this client."""
        return cls(
            client=client,
            experiments=Experiments(client),
            attempts=Attempts(client, leases.lease_s),
            studies=Studies(client),
            datasets=Datasets(client),
            keys=Keys(client),
            migration=Migration(client),
        )


def compose(
    stores: Stores,
    publisher: Publisher,
    settings: ApiSettings,
    leases: LeaseSettings,
    limits: Limits,
    *,
    sweeps: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Return the application over these stores; it runs a sweeper while it is served, unless `sweeps` is false."""

    def publish(experiment_id: str) -> None:
        publisher.publish_many([experiment_id])

    return create_app(
        stores.experiments,
        stores.studies,
        stores.datasets,
        stores.keys,
        publisher,
        settings,
        limits,
        admission_control=AdmissionControl(stores.client, settings.queued_experiments, settings.memory_share, clock),
        migration=BackgroundMigration(stores.migration),
        sweeper=Sweeper(stores.attempts, publish, leases.sweep_s, leases.keep_s) if sweeps else None,
        clock=clock,
    )


def app_from_environment(settings: ApiSettings | None = None) -> FastAPI:
    """Return the application that the environment describes; a factory for `uvicorn --factory`."""
    redis_settings, leases = RedisSettings(), LeaseSettings()
    stores = Stores.over(connect(redis_settings), leases)
    return compose(stores, CeleryPublisher(redis_settings), settings or ApiSettings(), leases, Limits())
