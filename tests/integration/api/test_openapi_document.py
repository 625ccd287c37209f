"""The OpenAPI document: its examples are accepted, its answers have schemas, its links work."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support.served_api import PROBLEM, problem

Json = dict[str, Any]
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(api: httpx2.Client) -> Json:
    """The document that the API serves."""
    answer: Json = api.get("/openapi.json").json()
    return answer


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Method, path and description of each operation."""
    for path, methods in document["paths"].items():
        for method in methods.keys() & METHODS:
            yield method, path, methods[method]


def test_every_example_of_a_body_is_accepted_and_its_links_work(api: httpx2.Client, document: Json) -> None:
    by_id = {operation["operationId"]: (method, path) for method, path, operation in operations(document)}
    checked = 0
    for method, path, operation in operations(document):
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            schema = content["schema"]
            named = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
            for example in [*named.get("examples", ()), *([content["example"]] if "example" in content else ())]:
                body = example if isinstance(example, str) else json.dumps(example)
                answer = api.request(method, path, content=body, headers={"content-type": media_type})
                assert str(answer.status_code) in operation["responses"]
                assert answer.status_code in ((200,) if path == "/v1/theory" else (201, 202)), answer.text
                described = {"headers": {}, "links": {}} | operation["responses"][str(answer.status_code)]
                assert described["headers"].keys() <= {name.title() for name in answer.headers}
                for link in described["links"].values():
                    if "parameters" in link:
                        (parameter,) = link["parameters"]
                        to = by_id[link["operationId"]]
                        assert f"{{{parameter}}}" in to[1]
                        if to[0] == "get":
                            assert api.get(to[1].format(**{parameter: answer.json()["id"]})).status_code == 200
                checked += 1
    assert checked >= 4


def test_every_answer_has_a_schema_and_every_error_refers_to_that_of_a_problem(document: Json) -> None:
    bodies = {f"#/components/schemas/{name}" for name in ("Problem", "InvalidRequest", "NotReady")}
    for _, _, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status in ("204", "304"):
                assert "content" not in answer
            elif status.isdecimal() and int(status) < 400:
                assert all(content.get("schema") is not None for content in answer["content"].values())
            else:
                [(media_type, content)] = answer["content"].items()
                assert media_type == PROBLEM
                assert content["schema"]["$ref"] in bodies
            header = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}.get(status)
            if header is not None:
                assert answer["headers"][header]["required"]


def test_every_reference_of_the_document_exists(document: Json) -> None:
    text = json.dumps(document)
    named = {operation["operationId"] for *_, operation in operations(document)}

    for reference in set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', text)):
        assert reference in document["components"]["schemas"]
    for operation in re.findall(r'"operationId": "([^"]+)"', text):
        assert operation in named


def test_gradients_and_studies_declare_every_format(document: Json) -> None:
    formats = {
        path: set(document["paths"][path]["get"]["responses"]["200"]["content"])
        for path in ("/v1/experiments/{experiment_id}/gradients", "/v1/studies/{study_id}")
    }

    assert list(formats.values()) == [
        {"application/json", "text/csv", "application/zip", "application/vnd.apache.parquet"},
        {"application/json", "text/csv"},
    ]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/experiments", "GET, POST"),
        ("/v1/experiments/x", "GET, DELETE"),
        ("/v1/experiments/x/cancel", "POST"),
        ("/v1/experiments/x/gradients", "GET"),
        ("/v1/experiments/x/theory", "GET"),
        ("/v1/experiments/x/diagnosis", "GET"),
        ("/v1/theory", "POST"),
        ("/v1/datasets/x", "GET, DELETE"),
        ("/livez", "GET"),
    ],
)
def test_a_method_that_is_not_allowed_gets_405_with_the_allowed_ones(
    api: httpx2.Client, path: str, allowed: str
) -> None:
    for method in ("PUT", "OPTIONS", "TRACE", "BREW"):
        answer = api.request(method, path)

        problem(answer, 405)
        assert answer.headers["allow"] == allowed


def test_the_document_describes_every_route_and_its_references_exist(api: httpx2.Client) -> None:
    document = api.get("/openapi.json").json()

    assert re.fullmatch(r"3\.1\.\d", document["openapi"])
    assert document["info"]["title"] == "gradflow"
    assert set(document["paths"]) == {
        *("/v1/experiments", "/v1/experiments/{experiment_id}", "/v1/experiments/{experiment_id}/cancel"),
        *("/v1/experiments/{experiment_id}/gradients", "/v1/experiments/{experiment_id}/metrics"),
        *("/v1/experiments/{experiment_id}/model", "/v1/experiments/{experiment_id}/events"),
        *("/v1/experiments/{experiment_id}/theory", "/v1/experiments/{experiment_id}/diagnosis", "/v1/theory"),
        *("/v1/datasets", "/v1/datasets/{dataset_id}"),
        *("/v1/studies", "/v1/studies/{study_id}", "/v1/studies/{study_id}/cancel"),
        *("/livez", "/readyz"),
    }
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 23
    for operation in operations:
        assert operation["description"]
        assert list(operation["responses"]["default"]["content"]) == [PROBLEM]
    for reference in re.findall(r'"\$ref":\s*"(#[^"]+)"', json.dumps(document)):
        part: Any = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def test_the_examples_of_a_spec_are_accepted(api: httpx2.Client) -> None:
    document = api.get("/openapi.json").json()
    body = document["paths"]["/v1/experiments"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    examples = document["components"]["schemas"][body.rpartition("/")[2]]["examples"]

    assert len(examples) >= 2
    for example in examples:
        assert api.post("/v1/experiments", json=example).status_code == 202
