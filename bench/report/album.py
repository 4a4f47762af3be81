"""The album: thumbnails as parts of the page, as many as it can carry."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from bench.records import Run
from bench.runs import thumbnails
from bench.runs.thumbnails import Thumbnail


@dataclass(frozen=True)
class Picture:
    """A picture on the page.

    Attributes:
        id: Its path relative to the data's source; the beginning of its hash where that is not known.
        source: A `data:` URI; "" where it has no thumbnail, or the page carries enough.
    """

    id: str
    source: str


class Album:
    """Gives out the thumbnails of a run until the page carries so many bytes of them.

    Attributes:
        thumbnails: What the run has, by SHA-256.
        withheld: How many were not given out, for the page would have got too heavy.
    """

    def __init__(self, run: Run, most_bytes: int) -> None:
        self._run, self._left = run, most_bytes
        self.thumbnails: Mapping[str, Thumbnail] = thumbnails.of_run(run)
        self.withheld = 0

    def picture(self, sha256: str) -> Picture:
        """One picture, by the hash of its content."""
        known = self.thumbnails.get(sha256)
        return Picture(known.id, self._source(sha256)) if known else Picture(sha256[:12], "")

    def _source(self, sha256: str) -> str:
        content = thumbnails.jpeg(self._run.path, sha256)
        if not content:
            return ""
        source = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
        if len(source) > self._left:
            self.withheld += 1
            return ""
        self._left -= len(source)
        return source
