"""The service is ready once a trainer has started."""

import httpx2

from service.store.experiments import Experiments
from tests.support.served_api import problem


def test_the_service_is_ready_once_a_trainer_has_started(api: httpx2.Client, store: Experiments) -> None:
    not_ready = problem(api.get("/readyz"), 503)
    assert (not_ready["redis"], not_ready["trainers"]) == (True, 0)
    assert not_ready["detail"] == "no training process has started yet"
    store.announce_trainer("a:1", 60)
    assert api.get("/readyz").status_code == 200
    assert api.get("/readyz").json() == {"redis": True, "trainers": 1}
