"""The OpenAPI document says what the routes do: the same paths, parameters and bodies."""

import re

import pytest
from starlette.routing import Route

from api.app import OPERATIONS
from tests.api.client import Client
from tests.api.json_schema import problems
from tests.api.town import Town

DOCUMENTED = [operation for operation in OPERATIONS if operation.documented]
EXAMPLES = {"region": "nyc", "cell": "dr5reg", "log": "region/nyc", "index": "3", "level": "0", "path": "000.p/5"}
EXAMPLES |= {"target": "2014-05-06T01:00", "horizon_min": "15", "name": "surge_threshold_nats"}


def test_paths_are_those_of_the_routes(client: Client) -> None:
    """Every route but the page's files is documented, and nothing else is."""
    document = client.get("/openapi.json").json()
    routes = {re.sub(r":\w+\}", "}", route.path) for route in client.app.routes if isinstance(route, Route)}
    pages = {operation.path for operation in OPERATIONS if not operation.documented}
    assert routes - pages == set(document["paths"])
    assert document["openapi"].startswith("3.1")


def test_operation_ids_and_path_parameters_fit(client: Client) -> None:
    """Ids are unique; a path's parameters are exactly the names in its braces."""
    paths = client.get("/openapi.json").json()["paths"]
    ids = [shown["operationId"] for item in paths.values() for shown in item.values()]
    assert len(ids) == len(set(ids))
    for path, item in paths.items():
        for shown in item.values():
            named = {p["name"] for p in shown["parameters"] if p["in"] == "path"}
            assert set(re.findall(r"\{(\w+)\}", path)) == named


def test_methods_are_those_of_the_routes(client: Client) -> None:
    """Each path is documented with the methods that it answers, and few paths take a body: one that writes, two that ask."""
    paths = client.get("/openapi.json").json()["paths"]
    assert {(each.openapi_path, each.method.lower()) for each in DOCUMENTED} == {(path, method) for path in paths for method in paths[path]}
    asking = ["/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/{key}"]
    assert [*asking, "/v1/acknowledgements"] == sorted(path for path, item in paths.items() if item.keys() != {"get"})


NEED_AN_ALERT = {"alert"}  # the town has none; tests/api/test_alerts.py checks its answer


@pytest.mark.parametrize(
    "operation",
    [each for each in DOCUMENTED if each.method == "GET" and each.name not in NEED_AN_ALERT],
    ids=lambda operation: operation.name,
)
def test_answers_fit_their_documented_schema(town: Town, client: Client, operation: object) -> None:
    """A real answer of every operation that reads has exactly the documented members."""
    needed = [f"{each.name}={each.example}" for each in operation.parameters if each.required]  # type: ignore[attr-defined]
    path = operation.openapi_path.format(**EXAMPLES) + ("?" + "&".join(needed) if needed else "")  # type: ignore[attr-defined]
    answer = client.get(path)
    assert answer.status_code == 200
    document = client.get("/openapi.json").json()
    content = document["paths"][operation.openapi_path]["get"]["responses"]["200"]["content"]  # type: ignore[attr-defined]
    assert answer.headers["content-type"].split(";")[0] in content
    value = answer.json() if "json" in answer.headers["content-type"] else answer.text
    assert problems(document["components"]["schemas"][operation.name], value) == []  # type: ignore[attr-defined]


def test_unknown_regions_fit_too(town: Town) -> None:
    """A region that is not bootstrapped has the same members, empty."""
    client = town.client(("nyc", "tehran"))
    schema = client.get("/openapi.json").json()["components"]["schemas"]["regions"]
    assert problems(schema, client.get("/v1/regions").json()) == []


def test_problems_fit_their_schema(client: Client) -> None:
    """A refusal has the documented members."""
    schema = client.get("/openapi.json").json()["components"]["schemas"]["Problem"]
    assert problems(schema, client.get("/v1/regions/oslo").json()) == []
