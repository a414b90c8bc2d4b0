"""What is wrong with an AsyncAPI document, and with messages by its schemas, a line each.

Reads an object from its input: the `document`; `meta`, the path of AsyncAPI's own schema; `messages`, pairs of a
message's name and one that was seen: what the server says has no field that is not in its schema; `wrong`, the same of
commands that no schema may take.
"""

import copy
import json
import sys

from jsonschema import Draft7Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7


def strict(schema):
    """Every object as it is described, and nothing beside."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: part if key in ("example", "examples", "default") else strict(part) for key, part in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        schema.setdefault("additionalProperties", False)
    return schema


given = json.load(sys.stdin)
document = given["document"]
with open(given["meta"]) as file:
    meta = Draft7Validator(json.load(file))
for error in meta.iter_errors(document):
    print(f"{error.json_path}: {error.message[:300]}")

closed = copy.deepcopy(document)
for part in ("schemas", "messages"):
    closed["components"][part] = strict(closed["components"][part])
resources = [("urn:document", document), ("urn:closed", closed)]
resources = [(urn, Resource(contents=contents, specification=DRAFT7)) for urn, contents in resources]
registry = Registry().with_resources(resources)
validators = {}


def errors(name, message):
    if name not in document["components"]["messages"]:
        return [f"{name} is not in the document"]
    if name not in validators:
        urn = "urn:document" if name.startswith("command.") else "urn:closed"
        schema = {"$ref": f"{urn}#/components/messages/{name}/payload"}
        validators[name] = Draft7Validator(schema, registry=registry, format_checker=FormatChecker())
    return [f"{name}: {error.json_path}: {error.message[:300]}" for error in validators[name].iter_errors(message)]


for name, message in given["messages"]:
    for error in errors(name, message):
        print(error, json.dumps(message)[:500])
for name, message in given["wrong"]:
    if not errors(name, message):
        print(f"{name} takes {json.dumps(message)[:500]}")
for name, message in document["components"]["messages"].items():
    for example in message["examples"]:
        for error in errors(name, example["payload"]):
            print("example:", error)
