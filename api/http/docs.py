"""The OpenAPI document for people: one page of plain HTML, without scripts and without anything from elsewhere.

Every text of the document is escaped; the one style sheet stands in the page, and its hash in the page's policy.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Any

from api.http.types import LARGEST

__all__ = ["POLICY", "render"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b }
h2 { margin: 2.5rem 0 0; border-top: 1px solid #ccc; padding-top: 1rem; font-size: 1.1rem }
h3 { margin: 2rem 0 0; font-size: 1rem }
code, h2, h3 { font-family: ui-monospace, monospace }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 }
td { border-bottom: 1px solid #ddd; padding: .2rem .8rem .2rem 0; vertical-align: top }
td:first-child { width: 14rem }
"""
_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# How operators show who they are.
_OPERATORS = ("bearer", "basic")

Schema = Mapping[str, Any]


def render(document: Schema) -> str:
    """Return the page of a document that `openapi.describe` made."""
    info, components = document["info"], document["components"]
    parts = [
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n',
        '<meta name="viewport" content="width=device-width">\n',
        f"<title>{escape(info['title'])} API</title>\n<style>{_STYLE}</style>\n",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>\n<p>{_prose(info['description'])}</p>\n",
        '<p>For programs: <a href="api/v1/openapi.json">openapi.json</a></p>\n',
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.extend(_operation(f"{method.upper()} {path}", operation))
    parts.append("<h2>Errors</h2>\n")
    parts.append(
        _table((code, _prose(each["description"])) for code, each in components["responses"].items())
    )
    parts.append("<h2>Types</h2>\n")
    for name, schema in components["schemas"].items():
        parts.append(f'<h3 id="{escape(name)}">{escape(name)}</h3>\n')
        parts.append(f"<p>{_prose(schema.get('description', ''))}</p>\n")
        parts.append(_table(_fields(schema)))
    return "".join(parts)


def _operation(title: str, operation: Schema) -> Iterator[str]:
    yield f"<h2>{escape(title)}</h2>\n<p>{_prose(operation['summary'])}.</p>\n"
    rows = [
        (each["name"], f"{escape(each['in'])}, {_typed(each['schema'])}")
        for each in operation.get("parameters", [])
    ]
    if "requestBody" in operation:
        rows.append(("body", _content(operation["requestBody"]["content"])))
    for status, answer in operation["responses"].items():
        code = answer.get("$ref", "").rpartition("/")[2]
        rows.append((status, escape(code) if code else _content(answer.get("content", {}))))
    yield _table(rows)
    security = operation.get("security")
    if security == []:
        yield "<p>Asks for no token.</p>\n"
    elif security:
        devices = " or ".join(escape(name) for each in security for name in each if name not in _OPERATORS)
        yield f"<p>Takes the token of a {devices}, too.</p>\n"


def _content(content: Schema) -> str:
    return (
        ", ".join(f"{_typed(each['schema'])} as {escape(kind)}" for kind, each in content.items())
        or "nothing"
    )


def _fields(schema: Schema) -> Iterator[tuple[str, str]]:
    for name, each in schema.get("properties", {}).items():
        yield name, _typed(each) + ("" if name in schema["required"] else ", optional")


def _typed(schema: Schema) -> str:
    """Return what a schema stands for, in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_typed, schema["anyOf"])) + _default(schema)
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(each))}</code>" for each in schema["enum"]) + _default(schema)
    if "prefixItems" in schema:
        return f"array of {' and '.join(map(_typed, schema['prefixItems']))}"
    if schema.get("type") == "array":
        return f"array of {_typed(schema['items'])}"
    return (
        escape(schema.get("format") or schema.get("type") or "anything") + _bounds(schema) + _default(schema)
    )


def _bounds(schema: Schema) -> str:
    # A bound that no number of ours reaches says nothing.
    named = {"minimum": "at least", "maximum": "at most", "maxLength": "characters: at most"}
    return "".join(
        f", {words} {schema[name]}" for name, words in named.items() if schema.get(name, LARGEST) != LARGEST
    )


def _default(schema: Schema) -> str:
    default = schema.get("default")
    return "" if default is None else f", default <code>{escape(str(default))}</code>"


def _prose(text: str) -> str:
    """Escape a text; what stands in backquotes is code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{each}</code>" if at % 2 else each for at, each in enumerate(pieces))


def _table(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names, which are escaped here, and of HTML beside them."""
    body = "".join(f"<tr><td><code>{escape(name)}</code><td>{html}\n" for name, html in rows)
    return f"<table>\n{body}</table>\n"
