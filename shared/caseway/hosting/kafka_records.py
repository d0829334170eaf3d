"""Teaches the Kafka client to read what any stranger can send and no client of ours would.

A broker takes any bytes for a header's name, and a batch of a few kilobytes that unpacks to
gigabytes. The client decodes names strictly and unpacks all there is: its reader ends, or its
process, and one record would stop everybody who reads the topic, after every restart anew.

- A name that is not UTF-8 has surrogates for the bytes that are no text, as PEP 383 has it: the
  contract refuses that one record, and a sealed leaf gets the very bytes back.
- A batch that unpacks to more than UNPACKED_BYTES_MAX is read as one record, at its last offset, of
  so many zeros that the contract refuses it as too large.

Rests on private names of the pinned client, which a contract test guards.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import (
    DefaultRecordBatch,
    _DefaultRecordBatchPy,
    _DefaultRecordPy,
)
from aiokafka.record.memory_records import MemoryRecords

from caseway.hosting.bounds import EVENT_BYTES_MAX

# What a megabyte, the most that a broker takes at once, may unpack to. JSON packs ten to one.
UNPACKED_BYTES_MAX = 64 * 1024 * 1024

# Every batch begins with its base offset (8 bytes) and the length of what follows (4); its magic
# number has stood in the same place since the first format, and is 2 since Kafka 0.11.
_LENGTH_AT, _OVERHEAD, _MAGIC_AT, _MAGIC = 8, 12, 16, 2
_HEADER_BYTES = _DefaultRecordBatchPy.HEADER_STRUCT.size
# By the codec's number: how it unpacks, and how many times larger that can be. Snappy, the other
# one, makes at most 21 of one.
_CODECS = {
    _DefaultRecordBatchPy.CODEC_GZIP: (cramjam.gzip, 1032),
    _DefaultRecordBatchPy.CODEC_LZ4: (cramjam.lz4, 255),
    _DefaultRecordBatchPy.CODEC_ZSTD: (cramjam.zstd, UNPACKED_BYTES_MAX),
}


class _Lenient(bytearray):
    """Bytes of which every part decodes."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Lenient(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Lenient(self._buffer)


class _Batch:
    """One batch, read the quick way as far as that goes."""

    def __init__(self, raw: memoryview) -> None:
        self._raw = raw
        self._quick = DefaultRecordBatch(raw)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._quick, name)

    def __next__(self) -> Any:
        return next(self._quick)

    def __iter__(self) -> Iterator[Any]:
        quick, count = self._quick, 0
        if not self._is_within():
            zeros, at = bytes(EVENT_BYTES_MAX + 1), quick.next_offset - 1
            yield _DefaultRecordPy(at, quick.max_timestamp, quick.timestamp_type, None, zeros, [])
            return
        try:
            for record in quick:
                yield record
                count += 1
        except UnicodeDecodeError:
            yield from islice(_LenientBatch(self._raw), count, None)

    def _is_within(self) -> bool:
        packed = self._raw[_HEADER_BYTES:]
        codec, times = _CODECS.get(self._quick.compression_type, (None, 1))
        if codec is None or len(packed) * times <= UNPACKED_BYTES_MAX:
            return True
        try:
            codec.decompress_into(packed, bytearray(UNPACKED_BYTES_MAX))
        except cramjam.DecompressionError:
            return False
        return True


class ReadableRecords:
    """The batches of one fetched partition; stands in for the client's own class."""

    def __init__(self, raw: bytes) -> None:
        self._raw = memoryview(raw)
        self._at = 0

    def size_in_bytes(self) -> int:
        """All of it, an unfinished batch at its end included."""
        return len(self._raw)

    def has_next(self) -> bool:
        """Whether a whole batch is left."""
        return self._at + _OVERHEAD <= len(self._raw) and self._end() <= len(self._raw)

    def next_batch(self) -> Any:
        """The next batch.

        Raises:
            CorruptRecordException: it is shorter than any batch can be.
        """
        raw, self._at = self._raw[self._at : self._end()], self._end()
        if len(raw) > _MAGIC_AT and raw[_MAGIC_AT] == _MAGIC:
            return _Batch(raw)
        return MemoryRecords(bytes(raw)).next_batch()

    def _end(self) -> int:
        length = int.from_bytes(self._raw[self._at + _LENGTH_AT : self._at + _OVERHEAD])
        return self._at + _OVERHEAD + length


def teach() -> None:
    """Every consumer of this process reads so from now on."""
    fetcher.MemoryRecords = ReadableRecords
