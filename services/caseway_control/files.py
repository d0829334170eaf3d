"""Read a file that somebody named on a command line, or say exactly why it cannot be read."""

from __future__ import annotations

from pathlib import Path

from caseway.errors import ConfigError


def read_file(path: Path) -> bytes:
    """The bytes of a file that is there and not empty.

    Raises:
        ConfigError: FILE_MISSING, FILE_IS_DIRECTORY, FILE_UNREADABLE or FILE_EMPTY.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; check the path", code="FILE_MISSING"
        ) from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path}: is a directory; name a file in it", code="FILE_IS_DIRECTORY"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); check its permissions",
            code="FILE_UNREADABLE",
        ) from None
    if not content.strip():
        raise ConfigError(
            f"{path}: is empty; was it cut short while it was written?", code="FILE_EMPTY"
        )
    return content


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        ConfigError: as `read_file`, and FILE_ENCODING with the first byte that is not UTF-8.
    """
    return decode_text(read_file(path), str(path))


def decode_text(content: bytes, source: str) -> str:
    """UTF-8 bytes as text, without a byte order mark.

    Raises:
        ConfigError: FILE_ENCODING, naming the byte; FILE_TRUNCATED when a character is cut off.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            raise ConfigError(
                f"{source}: ends at byte {error.start} in the middle of a character; "
                "it was cut short, get it again",
                code="FILE_TRUNCATED",
            ) from None
        raise ConfigError(
            f"{source}: byte {error.start} is not UTF-8; save the file as UTF-8",
            code="FILE_ENCODING",
        ) from None
