"""Conditional requests: ETag, If-None-Match and 304."""

import re

import httpx2

from service.store.experiments import Experiments
from tests.support.recorded_runs import write_with_nan
from tests.support.served_api import submit


def test_an_answer_that_the_client_has_is_not_sent_again(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api)
    for path in ("", "/gradients", "/metrics"):
        first = api.get(f"/v1/experiments/{experiment_id}{path}")
        known = {"if-none-match": first.headers["etag"]}
        again = api.get(f"/v1/experiments/{experiment_id}{path}", headers=known)
        assert again.status_code == 304
        assert again.content == b""
    write_with_nan(store, experiment_id, steps=10)
    assert api.get(f"/v1/experiments/{experiment_id}", headers=known).status_code == 200


def test_one_matching_etag_is_enough_and_without_one_the_answer_is_complete(api: httpx2.Client) -> None:
    path = f"/v1/experiments/{submit(api)}"
    etag = api.get(path).headers["etag"]

    assert re.fullmatch(r'"[^"]+"', etag)  # strong: no W/
    assert api.get(path, headers={"if-none-match": f'"other", {etag}'}).status_code == 304
    assert api.get(path, headers={"if-none-match": "*"}).status_code == 304
    assert api.get(path, headers={"if-none-match": '"other"'}).status_code == 200
    assert api.get(f"{path}/gradients", headers={"if-none-match": etag}).status_code == 200
