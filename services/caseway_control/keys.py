"""Key files: made with mode 600, read as JSON or as a hexadecimal seed.

A key id says what the key may do: `root:1` signs control records, `person:ann` decides as Ann,
`agent:triage-1` reports as that agent. Demo keys are marked as such in the file itself and in
all that is printed about them, because whoever has the directory has them all.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from caseway.contracts.signing import SigningKey
from caseway.errors import ConfigError, ContractError
from caseway_control.files import read_text

_SEED = re.compile(r"[0-9a-fA-F]{64}")
_KEY_ID = re.compile(r"(root|person|agent|checkpoint|pseudonym):[a-z0-9][a-z0-9._-]{0,63}")
ROOTS = ("root:1", "root:2")
CHECKPOINT = "checkpoint:1"
PSEUDONYM = "pseudonym:1"

# Who decides in a demo; nobody holds two roles that the insurance matrix keeps apart.
DEMO_PERSONS: dict[str, tuple[str, ...]] = {
    "adam": ("senior-adjuster",),
    "clara": ("claims-manager",),
    "victor": ("vp-claims",),
    "chloe": ("chief-claims-officer",),
    "erik": ("ceo",),
    "lea": ("legal",),
    "sam": ("special-investigations-unit",),
    "dora": ("claims-desk", "payments-desk"),
    # Answers for the demo agents, and therefore holds no role that could approve their work.
    "olga": ("operator",),
}


@dataclass(frozen=True, slots=True)
class Secret:
    """The content of a key file."""

    key_id: str
    seed: bytes
    is_demo: bool = False

    def signing_key(self) -> SigningKey:
        """The key to sign with."""
        return SigningKey(self.key_id, self.seed)


def key_path(directory: Path, key_id: str) -> Path:
    """Where the key of this id lies: `root:1` in `root-1.json`."""
    return directory / f"{key_id.replace(':', '-', 1)}.json"


def make_keys(directory: Path, key_ids: Iterable[str], *, is_demo: bool) -> list[Path]:
    """Make those key files that are missing, mode 600; returns the paths of all of them.

    A key that is there is never replaced: what it signed could not be checked any more.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths = []
    for key_id in key_ids:
        path = key_path(directory, key_id)
        paths.append(path)
        if not path.exists():
            _write(path, Secret(key_id, secrets.token_bytes(32), is_demo))
    return paths


def load_secret(path: Path) -> Secret:
    """Read a key file: JSON with key_id and seed, or 64 hexadecimal digits alone.

    A file of digits alone is named after its key: `person-ann.key` is `person:ann`.

    Raises:
        ConfigError: FILE_*, or KEY_FILE with what is expected; never any part of the content.
    """
    text = read_text(path).strip()
    if _SEED.fullmatch(text):
        key_id, is_demo, seed = path.stem.replace("-", ":", 1), False, text
    else:
        try:
            content = json.loads(text)
            key_id, seed = str(content["key_id"]), str(content["seed"])
            is_demo = content.get("demo") is True
        except (ValueError, KeyError, TypeError):
            raise _unfit(path, "is no key file") from None
    if not _SEED.fullmatch(seed):
        raise _unfit(path, "has a seed that is not 64 hexadecimal digits")
    if not _KEY_ID.fullmatch(key_id):
        raise _unfit(path, "has no key id like root:1, person:ann or agent:triage-1")
    return Secret(key_id, bytes.fromhex(seed), is_demo)


def load_key(path: Path, kind: str = "") -> SigningKey:
    """The signing key of a file; `kind` is what it must be: root, person, agent, checkpoint.

    Raises:
        ConfigError: FILE_*, KEY_FILE, or KEY_KIND for a key of another kind.
    """
    secret = load_secret(path)
    if kind and not secret.key_id.startswith(f"{kind}:"):
        raise ConfigError(
            f"{path}: holds key {secret.key_id!r}; expected a key of kind {kind!r}",
            code="KEY_KIND",
        )
    try:
        return secret.signing_key()
    except ContractError as error:
        raise _unfit(path, f"is refused: {error}") from None


def _write(path: Path, secret: Secret) -> None:
    content = {
        "key_id": secret.key_id,
        "public_key": secret.signing_key().public_text,
        "seed": secret.seed.hex(),
    }
    if secret.is_demo:
        content["warning"] = "DEMO KEY: whoever has this directory has it; never use it elsewhere"
    body = json.dumps({**content, "demo": secret.is_demo}, indent=2) + "\n"
    # Written whole under another name first: a key cut short by a crash would look like a key.
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def _unfit(path: Path, what: str) -> ConfigError:
    return ConfigError(
        f"{path}: {what}; expected JSON with key_id and seed as `caseway init` writes it, or 64 "
        "hexadecimal digits",
        code="KEY_FILE",
    )
