"""Tokens of images, sounds and files in a request.

Of these only sizes are known before the call. An image is scaled to fit 2048 x 2048, then to a short side
of 768, and cut into tiles of 512; or cut into at most 1536 patches of 32 (OpenAI, "Images and vision",
https://platform.openai.com/docs/guides/images-vision). A second of sound is 10 tokens (OpenAI, "Managing
costs" of the Realtime API).
"""

from __future__ import annotations

import struct
from binascii import a2b_base64
from struct import unpack_from
from typing import Final

from farthing.tokens.families import ImageRule
from farthing.tokens.tally import UNSEEN, Tally

__all__ = ["add_audio", "add_file", "add_image", "image_size"]

_HEAD: Final = 1 << 18  # of base64: enough for a JPEG whose metadata comes first


def add_image(tally: Tally, source: object, detail: object = None) -> None:
    """An image by its data URL, or by anything else, of which only the largest size is known."""
    tally.shown = False
    rule = tally.family.image
    size = image_size(source) if isinstance(source, str) else None
    if rule.kind == "flat":
        tally.guess(rule.base, rule.most)
    elif detail == "low" and rule.kind == "tiles":
        tally.guess(rule.base, rule.base + 8)
    elif size is None:
        tokens, _ = _sized(rule, 1024, 1024)
        tally.guess(tokens, rule.most + 8)
    else:
        tokens, upper = _sized(rule, *size)
        tally.guess(tokens, min(upper + upper // 10, rule.most) + 8)


def add_audio(tally: Tally, data: object) -> None:
    """A sound as base64, expected at 16 kB a second and at least at 1 kB."""
    size = len(data) * 3 // 4 if isinstance(data, str) else 0
    if not size:
        tally.unseen(1)
        return
    tally.shown = False
    tally.guess(size // 1600 + 1, min(size // 100 + 100, UNSEEN))


def add_file(tally: Tally, data: object) -> None:
    """A file as base64 (a document, billed by its text and as an image of each page), or one that is
    somewhere else, of which nothing is known."""
    if not isinstance(data, str):
        tally.unseen(1000)
        return
    tally.shown = False
    size = len(data) * 3 // 4
    image = tally.family.image
    page, page_upper = (image.base if image.kind == "flat" else _sized(image, 1024, 1024)[0]), image.most
    tally.guess(
        (size // 50_000 + 1) * (page + 600), min((size // 2000 + 1) * (page_upper + 1500) + size, UNSEEN)
    )


def _sized(rule: ImageRule, width: int, height: int) -> tuple[int, int]:
    if rule.kind == "patches":
        patches = -(-width // 32) * -(-height // 32)
        return -(-min(patches, 1536) * rule.each // 100), min(-(-patches * rule.each_upper // 100), rule.most)
    longest = max(width, height)
    if longest > 2048:
        width, height = max(1, width * 2048 // longest), max(1, height * 2048 // longest)
    shortest = min(width, height)
    if shortest > 768:
        width, height = width * 768 // shortest, height * 768 // shortest
    tokens = rule.base + rule.each * -(-width // 512) * -(-height // 512)
    return tokens, tokens


def image_size(url: str) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF, JPEG or WebP in a base64 data URL, read from its first bytes; None
    for everything else."""
    start = url.find(";base64,", 0, 200)
    if not url.startswith("data:image/") or start < 0:
        return None
    encoded = url[start + 8 : start + 8 + _HEAD]
    try:
        head = a2b_base64(encoded[: len(encoded) // 4 * 4])
        size = _size(head)
    except (ValueError, IndexError, struct.error):
        return None
    return size if size and 0 < size[0] <= 1 << 16 and 0 < size[1] <= 1 << 16 else None


def _size(head: bytes) -> tuple[int, int] | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return unpack_from(">II", head, 16)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return unpack_from("<HH", head, 6)
    if head.startswith(b"\xff\xd8"):
        return _jpeg_size(head)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp_size(head)
    return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = unpack_from(">HH", head, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 + int(unpack_from(">H", head, at + 2)[0])
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
