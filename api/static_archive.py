"""The files of an archive from any web server that hands them out as they are, with what Python has: no extra needed.

What comes is bytes of a stranger: bounded in length, and believed by nobody before it is verified.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request

from ledger.archive import CHECKPOINT
from ledger.archive_proof import tile_file_limit
from ledger.errors import Malformed
from ledger.note import MAX_NOTE_BYTES

TIMEOUT_S = 30.0
# The whole of one file: a server that sends a byte a second would otherwise be waited for for days.
MAX_FILE_S = 300.0
_PIECE_BYTES = 64 * 1024


class ArchiveUnreachable(Exception):
    """The server is not there, or has no such file; the text says which."""


class ArchiveSite:
    """An archive under a URL, http or https. Raises ArchiveUnreachable, Malformed."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"expected a URL that begins with http:// or https://, got {url!r}")
        self._url = url.rstrip("/")

    def checkpoint(self) -> bytes:
        return self._get(CHECKPOINT, MAX_NOTE_BYTES)

    def tile(self, path: str) -> bytes:
        return self._get(path, tile_file_limit(path))

    def _get(self, path: str, max_bytes: int) -> bytes:
        url = f"{self._url}/{path}"
        deadline_s = time.monotonic() + MAX_FILE_S
        data = bytearray()
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                while piece := answer.read1(_PIECE_BYTES):
                    data += piece
                    if len(data) > max_bytes:
                        raise Malformed("bad_archive", f"{url}: too large: expected at most {max_bytes} bytes")
                    if time.monotonic() > deadline_s:
                        raise ArchiveUnreachable(f"{url}: not here after {MAX_FILE_S:.0f} s")
        except urllib.error.HTTPError as error:
            raise ArchiveUnreachable(f"{url}: {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise ArchiveUnreachable(f"{url}: {reason or type(error).__name__}") from error
        return bytes(data)
