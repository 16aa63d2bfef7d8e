"""Validates a WCO document against the XML Schemas that an operator has (extra `wco`: lxml).

Promises: schemas and what they import come from the given folder and nowhere else: a location outside it, or an
address, is an error and not a request. The document has passed `api.wco.reading` first, so that there is no DTD in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lxml import etree

from api.wco.reading import XmlRefused

MAX_SCHEMA_BYTES = 8 * 1024 * 1024
MAX_SCHEMA_FILES = 256
MAX_SHOWN_ERRORS = 20
_XS = "http://www.w3.org/2001/XMLSchema"


class SchemaUnusable(ValueError):
    """The folder does not hold schemas that can be used: which file, and why."""


class _Inside(etree.Resolver):  # type: ignore[misc]
    """Resolves to files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resolve(self, system_url: str | None, public_id: str | None, context: Any) -> Any:
        path = Path((system_url or "").removeprefix("file://")).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            raise SchemaUnusable(f"schema refers to {system_url!r:.200}: expected a file in {self._folder}")
        return self.resolve_string(_read(path), context, base_url=str(path))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_SCHEMA_BYTES + 1)
    if len(data) > MAX_SCHEMA_BYTES:
        raise SchemaUnusable(f"{path}: too large: expected at most {MAX_SCHEMA_BYTES} bytes")
    return data


def _parser(folder: Path) -> etree.XMLParser:
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False)
    parser.resolvers.add(_Inside(folder))
    return parser


class Schemas:
    """The schemas of a folder: one for each namespace that the document's root and its declaration have."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._by_namespace: dict[str, Path] = {}
        files = sorted(self._folder.rglob("*.xsd"))[: MAX_SCHEMA_FILES + 1]
        if not files or len(files) > MAX_SCHEMA_FILES:
            raise SchemaUnusable(f"{folder}: expected 1 to {MAX_SCHEMA_FILES} .xsd files, got {len(files)}")
        for path in files:
            try:
                root = etree.fromstring(_read(path), _parser(self._folder))
            except etree.XMLSyntaxError as error:
                raise SchemaUnusable(f"{path}: {error}") from error
            namespace = root.get("targetNamespace", "")
            # Two files of one namespace (a cancellation has a schema of its own): the one that declares more counts.
            known = self._by_namespace.get(namespace)
            if known is None or path.stat().st_size > known.stat().st_size:
                self._by_namespace[namespace] = path
        self._schemas: dict[tuple[str, ...], etree.XMLSchema] = {}

    def check(self, raw: bytes) -> None:
        """XmlRefused with the first errors, each with its line, unless the document is valid."""
        root = etree.fromstring(raw, _parser(self._folder))
        namespaces = tuple(
            dict.fromkeys(etree.QName(e).namespace or "" for e in (root, *root) if isinstance(e.tag, str))
        )
        schema = self._schema(namespaces)
        if schema.validate(root):
            return
        errors = [f"line {error.line}: {error.message}" for error in schema.error_log][:MAX_SHOWN_ERRORS]
        raise XmlRefused("schema", "not valid against the schemas: " + "; ".join(errors))

    def _schema(self, namespaces: tuple[str, ...]) -> etree.XMLSchema:
        schema = self._schemas.get(namespaces)
        if schema is None:
            driver = etree.Element(f"{{{_XS}}}schema")
            for namespace in namespaces:
                path = self._by_namespace.get(namespace)
                if path is None:
                    raise SchemaUnusable(f"{self._folder}: no schema has the target namespace {namespace!r:.120}")
                etree.SubElement(driver, f"{{{_XS}}}import", {"namespace": namespace, "schemaLocation": str(path)})
            text = etree.tostring(driver)
            try:
                schema = etree.XMLSchema(
                    etree.fromstring(text, _parser(self._folder), base_url=str(self._folder / "-"))
                )
            except etree.XMLSchemaParseError as error:
                raise SchemaUnusable(f"{self._folder}: {error}") from error
            self._schemas[namespaces] = schema
        return schema
