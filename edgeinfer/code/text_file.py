"""The text of a file, and how to turn a changed text into bytes of the same form."""

from __future__ import annotations

import codecs

import msgspec

from edgeinfer.errors import EdgeinferError

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order marks, and the encodings that they stand for."""


class TextFile(msgspec.Struct, frozen=True):
    r"""A file of text.

    Attributes:
        text: with "\n" at the end of each line if all its lines end alike, else as it is.
        data: None if there is no such file yet.
        crlf: its lines end with "\r\n".
    """

    name: str
    text: str = ""
    data: bytes | None = None
    encoding: str = "utf-8"
    crlf: bool = False

    def encode(self, text: str) -> bytes:
        """Return the bytes of another text in this file's encoding, with its line ends.

        Raises:
            EdgeinferError: the encoding does not have a character.
        """
        text = text.replace("\n", "\r\n") if self.crlf else text
        try:
            if self.encoding in ("utf-16-le", "utf-16-be"):
                return ("\ufeff" + text).encode(self.encoding)
            return text.encode(self.encoding)
        except UnicodeEncodeError as e:
            raise EdgeinferError(
                f"{self.name} is not UTF-8, and cannot hold {e.object[e.start]!a}",
                hint="convert the file to UTF-8 first",
            ) from e


def text_file(name: str, data: bytes) -> TextFile:
    """Decode a file; raises EdgeinferError if it is not text."""
    encoding = next((encoding for mark, encoding in MARKS.items() if data.startswith(mark)), "utf-8")
    if encoding in ("utf-8", "utf-8-sig") and b"\0" in data:
        raise EdgeinferError(f"{name} is binary")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        encoding = "latin-1"  # which gives back every byte, whatever the file's real encoding
        text = data.decode(encoding)
    text = text.removeprefix("\ufeff")
    crlf = "\r\n" in text and text.count("\r") == text.count("\n") == text.count("\r\n")
    return TextFile(name, text.replace("\r\n", "\n") if crlf else text, data, encoding, crlf)
