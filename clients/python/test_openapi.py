"""The OpenAPI document that the REST port serves is one by the word of a published validator."""

import json
import pathlib

from openapi_spec_validator import validate

DOCUMENT = pathlib.Path(__file__).parents[2] / "services/dataplane/internal/rest/openapi.json"


def test_document():
    document = json.loads(DOCUMENT.read_text())
    validate(document)
    ids = [operation["operationId"] for verbs in document["paths"].values() for operation in verbs.values()]
    assert len(ids) == len(set(ids)) > 80
