"""Schemas come from the operator's folder and from nowhere else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from api.wco.reading import DECLARATION_NAMESPACE, METADATA_NAMESPACE, XmlRefused
from api.wco.schemas import Schemas, SchemaUnusable
from tests.api.wco.documents import CLOSED, DATA, HEAD, ROOT, SAMPLES, UNCLOSED

METADATA = f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{METADATA_NAMESPACE}"
  elementFormDefault="qualified"><xs:element name="MetaData"><xs:complexType><xs:sequence>
  <xs:element name="WCODataModelVersionCode"/><xs:element name="WCOTypeName"/>
  <xs:element name="ResponsibleCountryCode"/>
  <xs:any namespace="{DECLARATION_NAMESPACE}" processContents="strict"/>
  </xs:sequence></xs:complexType></xs:element></xs:schema>"""
DECLARATION = f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{DECLARATION_NAMESPACE}"
  elementFormDefault="qualified">%s<xs:element name="Declaration"><xs:complexType><xs:sequence>
  <xs:element name="FunctionCode" type="xs:positiveInteger"/></xs:sequence></xs:complexType></xs:element></xs:schema>"""


def folder_of(path: Path, inside: str = "") -> Path:
    (path / "schemas").mkdir()
    (path / "schemas" / "MetaData.xsd").write_text(METADATA)
    (path / "schemas" / "Declaration.xsd").write_text(DECLARATION % inside)
    return path / "schemas"


def document(function: str) -> bytes:
    return f"{ROOT}{HEAD}<Declaration>\n<FunctionCode>{function}</FunctionCode></Declaration></md:MetaData>".encode()


def test_a_valid_document_passes_and_an_invalid_one_says_the_line(tmp_path: Path) -> None:
    schemas = Schemas(folder_of(tmp_path))
    schemas.check(document("9"))
    with pytest.raises(XmlRefused, match=r"line 2: .*FunctionCode"):
        schemas.check(document("nine"))


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:{port}/a.xsd", "ftp://127.0.0.1:{port}/a.xsd", "../outside.xsd"]
)
def test_a_schema_outside_the_folder_is_neither_read_nor_fetched(tmp_path: Path, location: str) -> None:
    (tmp_path / "outside.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="a"/>'
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = location.format(port=server.getsockname()[1])
        schemas = Schemas(folder_of(tmp_path, f'<xs:import namespace="a" schemaLocation="{address}"/>'))
        with pytest.raises(SchemaUnusable, match="Failed to parse the XML resource"):
            schemas.check(document("9"))
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_folder_without_the_schemas_needed_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(SchemaUnusable, match="expected 1 to"):
        Schemas(tmp_path)
    (folder_of(tmp_path) / "Declaration.xsd").unlink()
    with pytest.raises(SchemaUnusable, match="no schema has the target namespace"):
        Schemas(tmp_path / "schemas").check(document("9"))
    (tmp_path / "schemas" / "Declaration.xsd").write_text("<nonsense")
    with pytest.raises(SchemaUnusable, match=r"Declaration\.xsd"):
        Schemas(tmp_path / "schemas")


@pytest.mark.skipif(not SAMPLES, reason=f"no sample declarations in {DATA}")
def test_the_published_samples_are_valid_against_their_schemas() -> None:
    schemas = Schemas(DATA / "xsd")
    for path in SAMPLES:
        schemas.check(path.read_bytes().replace(UNCLOSED, CLOSED))
