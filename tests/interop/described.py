"""docs/openapi.yaml, and whether an answer is as it says."""

import json

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from conftest import ROOT

FILE = ROOT / "docs" / "openapi.yaml"
DOCUMENT = yaml.safe_load(FILE.read_text(encoding="utf-8"))
REGISTRY = Registry().with_resource("urn:openapi", DRAFT202012.create_resource(DOCUMENT))
# What each answer has, and OpenAPI documents leave out or the CORS protocol adds.
EVERYWHERE = {"connection", "content-length", "content-type", "date", "vary", "x-jeton-forwarded"}
EVERYWHERE |= {"content-security-policy", "cross-origin-resource-policy", "referrer-policy"}
EVERYWHERE |= {"access-control-allow-origin", "access-control-expose-headers"}
EVERYWHERE |= {"x-content-type-options"}


def find(thing):
    """What a part of the document is: itself, or what it refers to."""
    while "$ref" in thing:
        name, target = thing["$ref"], DOCUMENT
        for step in name.removeprefix("#/").split("/"):
            target = target[step]
        thing = target
    return thing


def operations():
    """The path, the method and the description of each operation."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def codes(schema):
    """The values of `error` that a schema allows; one that is none, if it is not of an error."""
    schema = find(schema)
    if "allOf" not in schema:
        return [None]
    error = schema["allOf"][1]["properties"]["error"]
    return error.get("enum", [error.get("const")])


def answers():
    """All answers that are described: path, method, status, `error`."""
    for path, method, operation in operations():
        for status, response in operation["responses"].items():
            content = find(response).get("content", {"": {"schema": {}}})
            for media in content.values():
                for code in codes(media["schema"]):
                    yield path, method, int(status), code


def error_examples():
    """All errors that are shown: path, method, status, content."""
    for path, method, operation in operations():
        for status, response in operation["responses"].items():
            for media in find(response).get("content", {}).values():
                if codes(media["schema"]) != [None]:
                    for example in media["examples"].values():
                        yield path, method, int(status), json.dumps(example["value"])


def parameters(path):
    """The names of the parameters of a form that are texts or lists of texts, with the schema of a text."""
    [media] = DOCUMENT["paths"][path]["post"]["requestBody"]["content"].values()
    for name, schema in find(media["schema"])["properties"].items():
        schema = find(schema)
        schema = schema.get("items", schema)
        if "enum" not in schema:
            yield name, schema


def validator(schema):
    if "$ref" in schema:
        schema = {"$ref": f"urn:openapi{schema['$ref']}"}
    return Draft202012Validator(schema, registry=REGISTRY)


def is_valid(schema, value):
    return validator(schema).is_valid(value)


def members(schema):
    """The names that an object may have at its top."""
    schema = find(schema)
    parts = schema.get("anyOf", []) + schema.get("allOf", [])
    return set(schema.get("properties", {})).union(*(members(part) for part in parts))


def describes(path, method, status, headers, content):
    """Asserts that an answer is as the document says; returns it as it is in `answers`."""
    case = f"{method} {path}: {status} {headers} {content!r}"
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    response = find(responses[str(status)])
    headers = {name.lower(): value for name, value in headers}
    described = response.get("headers", {}).items()
    described = {name.lower(): find(header) for name, header in described}
    assert set(headers) <= EVERYWHERE | set(described), case
    for name, header in described.items():
        assert name in headers or not header.get("required"), f"{name} of {case}"
        if name in headers:
            value = headers[name]
            value = int(value) if header["schema"]["type"] == "integer" else value
            validator(header["schema"]).validate(value)
    if "content" not in response:
        assert not content, case
        return path, method, status, None
    [(media_type, media)] = response["content"].items()
    assert headers["content-type"] == media_type, case
    value = json.loads(content)
    validator(media["schema"]).validate(value)
    assert set(value) <= members(media["schema"]), case
    return path, method, status, value.get("error")
