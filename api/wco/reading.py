"""Reads a WCO Data Model XML document that somebody else wrote (XML 1.0, Namespaces in XML 1.0).

Promises: a tree of elements with the path, line and column of each, or `XmlRefused` that says why and where, and
nothing else, whatever the bytes are. A document type declaration is refused before anything in it counts: so there are
no entities to expand and nothing outside the document to fetch. Refused are also elements of namespaces other than
those of the data model, which XInclude would need, processing instructions, and encodings other than UTF-8. Size,
depth, and the numbers of elements and attributes are limited while parsing, not after it.

Nothing is mended: where a comment was meant to end, for one, decides what is declared and what is not.

Does not: know what an element means, or validate against a schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

METADATA_NAMESPACE = "urn:wco:datamodel:WCO:DocumentMetaData-DMS:2"
DECLARATION_NAMESPACE = "urn:wco:datamodel:WCO:DEC-DMS:2"
TYPES_NAMESPACE = "urn:wco:datamodel:WCO:Declaration_DS:DMS:2"  # of what stands within dates
NAMESPACES = frozenset((METADATA_NAMESPACE, DECLARATION_NAMESPACE, TYPES_NAMESPACE))

MAX_DOCUMENT_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_ELEMENTS = 20_000
MAX_ATTRIBUTES = 16  # of one element
MAX_VALUE_CHARS = 8_192  # of one text or attribute
MAX_NAMESPACE_DECLARATIONS = 64

_SEPARATOR = " "
_ENCODINGS = ("utf-8", "us-ascii")


class XmlRefused(ValueError):
    """Bytes that are no document of this kind: a code for programs, where, and in words what was expected and got."""

    def __init__(self, code: str, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"line {line}, column {column}: {message}" if line else message)
        self.code = code
        self.line = line
        self.column = column


@dataclass(slots=True, eq=False)
class Element:
    """One element. `text` is that of a leaf: an element with children has none beside them."""

    name: str
    namespace: str
    line: int
    column: int
    parent: Element | None
    number: int  # among the siblings of the same name, from 1
    attributes: tuple[tuple[str, str], ...] = ()  # local name and value, in the document's order
    children: list[Element] = field(default_factory=list)
    text: str = ""
    counts: dict[str, int] = field(default_factory=dict)  # of the children, by name

    def named(self, name: str) -> list[Element]:
        return [child for child in self.children if child.name == name]

    @property
    def path(self) -> str:
        """Names from the root down; a number (from 1) where siblings have the same name."""
        steps: list[str] = []
        element: Element | None = self
        while element is not None:
            has_twins = element.parent is not None and element.parent.counts[element.name] > 1
            steps.append(f"/{element.name}[{element.number}]" if has_twins else f"/{element.name}")
            element = element.parent
        return "".join(reversed(steps))

    @property
    def pattern(self) -> str:
        """Names below the declaration, without numbers: what the mapping goes by. The root and its own have a `/`."""
        steps: list[str] = []
        element: Element | None = self
        # The declaration is the root's own; a depth that is counted at each step would be paid for by each element.
        while element is not None and not (
            element.name == "Declaration" and element.parent is not None and element.parent.parent is None
        ):
            steps.append(element.name)
            element = element.parent
        return "/".join(reversed(steps)) if element is not None else "/" + "/".join(reversed(steps))

    def walk(self) -> Iterator[Element]:
        """This element and all below it, in the document's order."""
        stack = [self]
        while stack:
            element = stack.pop()
            yield element
            stack.extend(reversed(element.children))


def read_document(raw: bytes) -> Element:
    """Return the root of the document that the bytes are, or raise XmlRefused."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise XmlRefused("too_large", f"document is too large: expected at most {MAX_DOCUMENT_BYTES} bytes")
    _check_encoding(raw)
    builder = _Builder()
    builder.parse(raw)
    if builder.root is None:
        raise XmlRefused("malformed", "expected an element, got none")
    return builder.root


def _check_encoding(raw: bytes) -> None:
    """UTF-16 and UTF-32 begin with a byte order mark or have a zero byte among the first four (XML appendix F)."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in raw[:4]:
        raise XmlRefused("encoding", "expected UTF-8, got UTF-16, UTF-32 or no text", 1, 1)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise XmlRefused("encoding", f"expected UTF-8, got byte {raw[error.start]:#04x}", line, column) from error


def _open_comment(raw: bytes, at: int) -> str:
    """A hint where a document ends to be one within a comment: mostly it was closed with `>` instead of `-->`."""
    start = raw.find(b"<!--")
    while start >= 0 and (end := raw.find(b"-->", start, at)) >= 0:
        start = raw.find(b"<!--", end, at)
    if not 0 <= start < at:
        return ""
    return f"; the comment that begins in line {raw.count(bytes([10]), 0, start) + 1} is not closed with `-->` before"


class _Builder:
    """Takes what expat reports, within limits."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._elements = 0
        self._namespaces = 0
        self._text: list[str] = []
        self._text_chars = 0
        self._parser = expat.ParserCreate("UTF-8", _SEPARATOR)
        self._parser.buffer_text = True
        self._parser.ordered_attributes = True
        self._parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self._parser.XmlDeclHandler = self._declaration
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.EntityDeclHandler = self._doctype
        self._parser.ExternalEntityRefHandler = self._doctype
        self._parser.ProcessingInstructionHandler = self._instruction
        self._parser.StartNamespaceDeclHandler = self._namespace
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def parse(self, raw: bytes) -> None:
        try:
            # In one call: a token that comes in pieces would be read again with each.
            self._parser.Parse(raw, True)
        except expat.ExpatError as error:
            message = expat.ErrorString(error.code) + _open_comment(raw, self._parser.ErrorByteIndex)
            raise XmlRefused("malformed", message, error.lineno, error.offset + 1) from error

    def _refuse(self, code: str, message: str) -> XmlRefused:
        return XmlRefused(code, message, self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1)

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise self._refuse("encoding", f"expected encoding UTF-8, got {encoding[:40]!r}")

    def _doctype(self, *_: Any) -> int:
        raise self._refuse("doctype", "expected no document type declaration, got one")

    def _instruction(self, target: str, data: str) -> None:
        raise self._refuse("instruction", f"expected no processing instruction, got {target[:40]!r}")

    def _namespace(self, prefix: str | None, uri: str) -> None:
        self._namespaces += 1
        if self._namespaces > MAX_NAMESPACE_DECLARATIONS:
            raise self._refuse("too_many", f"expected at most {MAX_NAMESPACE_DECLARATIONS} namespace declarations")

    def _start(self, qualified: str, attributes: list[str]) -> None:
        namespace, _, name = qualified.rpartition(_SEPARATOR)
        if namespace not in NAMESPACES:
            raise self._refuse(
                "namespace", f"expected elements of WCO DEC-DMS:2, got {name[:40]!r} of {namespace!r:.120}"
            )
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise self._refuse("too_many", f"expected at most {MAX_ELEMENTS} elements")
        if len(self._open) == MAX_DEPTH:
            raise self._refuse("too_deep", f"expected at most {MAX_DEPTH} elements within each other")
        if len(attributes) > 2 * MAX_ATTRIBUTES:
            raise self._refuse("too_many", f"expected at most {MAX_ATTRIBUTES} attributes of one element")
        if any(len(value) > MAX_VALUE_CHARS for value in attributes):
            raise self._refuse("too_large", f"expected at most {MAX_VALUE_CHARS} characters in an attribute")
        self._no_text_beside(self._open[-1] if self._open else None)
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        counts = self._open[-1].counts if self._open else {}
        counts[name] = counts.get(name, 0) + 1
        element = Element(
            name,
            namespace,
            self._parser.CurrentLineNumber,
            self._parser.CurrentColumnNumber + 1,
            self._open[-1] if self._open else None,
            counts[name],
            tuple((key.rpartition(_SEPARATOR)[2], value) for key, value in pairs),
        )
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _end(self, qualified: str) -> None:
        element = self._open.pop()
        if element.children:
            self._no_text_beside(element)
        else:
            element.text = "".join(self._text)
        self._text.clear()
        self._text_chars = 0

    def _no_text_beside(self, element: Element | None) -> None:
        text = "".join(self._text).strip()
        if text and element is not None:
            raise self._refuse("mixed", f"expected no text beside the elements of {element.name}, got {text[:40]!r}")
        self._text.clear()
        self._text_chars = 0

    def _characters(self, data: str) -> None:
        self._text_chars += len(data)
        if self._text_chars > MAX_VALUE_CHARS:
            raise self._refuse("too_large", f"expected at most {MAX_VALUE_CHARS} characters of text in an element")
        self._text.append(data)
