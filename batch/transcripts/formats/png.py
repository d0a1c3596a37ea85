"""The timeline as PNG, for where SVG is not shown: mails, chats, slides. By resvg, with this machine's fonts."""

from __future__ import annotations

from typing import Final

from batch.transcripts.formats.svg import svg
from batch.transcripts.transcript import Transcript

_ZOOM: Final = 2.0
_LETTER: Final = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><text y="15">{}</text></svg>'


def png(spoken: Transcript) -> bytes:
    """Raises ImportError without resvg."""
    return _drawn(svg(spoken), zoom=_ZOOM)


def missing() -> str:
    """What keeps this machine from drawing it, and what to do; empty if nothing does."""
    try:
        is_legible = _drawn(_LETTER.format("A")) != _drawn(_LETTER.format(""))
    except ImportError:
        return "png needs resvg: pip install 'diarist[png]'"
    return "" if is_legible else "png needs a font, and this machine has none: install one (fonts-dejavu-core)"


def _drawn(markup: str, zoom: float = 1.0) -> bytes:
    import resvg_py

    return resvg_py.svg_to_bytes(svg_string=markup, zoom=zoom)
