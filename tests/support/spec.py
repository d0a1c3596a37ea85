"""The vendor's specification, where it is at hand: the file that ``ASSEMBLYAI_OPENAPI`` names, or one in a folder
``shared/reference`` beside the project. It is the vendor's, so the project does not carry it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_PLACES = [parent / "shared/reference/assemblyai-openapi.yaml" for parent in Path(__file__).parents]


@cache
def specification() -> dict[str, Any]:
    """The specification, parsed. Skips the test where there is none."""
    given = os.environ.get("ASSEMBLYAI_OPENAPI")
    path = Path(given) if given else next((place for place in _PLACES if place.is_file()), None)
    if path is None:
        pytest.skip("the vendor's specification is not here: name it in ASSEMBLYAI_OPENAPI")
    yaml = pytest.importorskip("yaml")
    read: dict[str, Any] = yaml.load(path.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return read


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """What a ``$ref`` into the specification leads to; anything else as it is."""
    if "$ref" not in node:
        return node
    found = specification()
    for name in node["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return resolved(found)


def deviations(method: str, template: str, status: int, content_type: str, body: Any) -> list[str]:
    """Where an answer is not what the specification says of its route and status."""
    import jsonschema

    declared = specification()["paths"][template][method.lower()]["responses"]
    if str(status) not in declared:
        return [f"{status} is not declared for {method} {template}"]
    content = resolved(declared[str(status)]).get("content", {})
    if content_type not in content:
        return [f"{content_type} is not one of {', '.join(content)}"]
    schema = {"$ref": "#/wanted", "wanted": content[content_type]["schema"], **specification()}
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker(["uuid", "date"]))
    return [f"{error.json_path}: {error.message}" for error in checker.iter_errors(body)]
