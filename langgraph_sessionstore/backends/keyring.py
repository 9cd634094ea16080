"""The keys that stored values are sealed with.

Rule 1: a key is 32 random bytes. A password becomes one through scrypt, never by itself.
Rule 2: the first key of a ring seals; all of them open. So a new key goes in front, and an old one goes away when
        nothing is sealed with it any more (`EncryptedBackend.reseal`).
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Iterable
from hashlib import blake2b
from typing import TypeAlias

from ..errors import ConfigurationError, MissingExtra

VARIABLE = "SESSIONSTORE_ENCRYPTION_KEYS"
"""The environment variable that `Keyring.from_environment` reads."""
SIZE = 32
NAME = 4  # bytes by which a sealed value says which key it was sealed with
MISSING = 'encryption needs the package "cryptography": python -m pip install "langgraph-sessionstore[encryption]"'
_COST = 1 << 17  # scrypt: about 128 MB and some tenths of a second for each try
_HELP = (
    f"a key is {SIZE} random bytes (`Keyring.new_key()` makes one), or the same as base64 or hexadecimal text. "
    "For a password there is Keyring.from_password(password, salt)"
)

Key: TypeAlias = "bytes | str"


class Keyring:
    """Keys to seal values with, and to open them: `Keyring(new_key, old_key)`. A keyring stands for its keys.

    `plaintext=True` lets values be read that were never sealed, while a storage is being encrypted; what is written is
    sealed in any case.
    """

    secrets: dict[bytes, bytes]
    """The keys by their names, the one that seals first."""

    def __init__(self, *keys: Key | Keyring, plaintext: bool = False) -> None:
        if not keys:
            raise ConfigurationError(f"a keyring holds at least one key; {_HELP}")
        parts = [raw for key in keys for raw in (key.secrets.values() if isinstance(key, Keyring) else [_raw(key)])]
        self.secrets = {name_of(raw): raw for raw in parts}
        self.plaintext = plaintext

    @classmethod
    def from_environment(cls, variable: str = VARIABLE, *, plaintext: bool = False) -> Keyring:
        """The keys that stand in an environment variable, as base64 or hexadecimal text, with commas between them."""
        text = os.environ.get(variable, "")
        keys = [part.strip() for part in text.split(",") if part.strip()]
        if not keys:
            raise ConfigurationError(f"the environment variable {variable} holds no key; {_HELP}")
        try:
            return cls(*keys, plaintext=plaintext)
        except ConfigurationError as exc:
            raise ConfigurationError(f"the environment variable {variable}: {exc}") from exc

    @classmethod
    def from_password(cls, password: str, salt: bytes, *, plaintext: bool = False) -> Keyring:
        """A key made of a password, slowly, so that guessing is slow too.

        The salt is at least 16 random bytes (`os.urandom(16)`), the same for all workers on a storage, kept with the
        configuration. It is no secret.
        """
        return cls(derived(password, salt), plaintext=plaintext)

    @staticmethod
    def new_key() -> str:
        """A new key, as text for an environment variable."""
        return base64.b64encode(secrets.token_bytes(SIZE)).decode("ascii")

    def __repr__(self) -> str:
        names = ", ".join(name.hex() for name in self.secrets)
        return f"Keyring({names}{', plaintext=True' if self.plaintext else ''})"


Encryption: TypeAlias = "Keyring | Key | Iterable[Key | Keyring] | bool"


def keyring_of(encryption: Encryption) -> Keyring:
    """The keyring that somebody means by a key, several, or True: those in the environment."""
    if isinstance(encryption, Keyring):
        return encryption
    if encryption is True:
        return Keyring.from_environment()
    if isinstance(encryption, (bytes, str)):
        return Keyring(encryption)
    if isinstance(encryption, Iterable):
        return Keyring(*encryption)
    raise ConfigurationError(
        f"encryption is a key, several, a Keyring, or True for those in {VARIABLE}, not {type(encryption).__name__}"
    )


def derived(password: str, salt: bytes) -> bytes:
    """The key that a password makes with a salt."""
    if not isinstance(password, str) or not password:
        raise ConfigurationError("a password is text, and not empty")
    if not isinstance(salt, bytes) or len(salt) < 16:
        raise ConfigurationError("a salt is at least 16 random bytes: os.urandom(16), made once and kept")
    try:
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    except ModuleNotFoundError as exc:
        raise MissingExtra(MISSING) from exc
    raw = password.encode("utf-8", "surrogatepass")
    return Scrypt(salt=salt, length=SIZE, n=_COST, r=8, p=1).derive(raw)


def name_of(secret: bytes) -> bytes:
    """The name that a key has in what it sealed; it tells nothing else of the key."""
    return blake2b(b"", key=secret, digest_size=NAME, person=b"sessionstore-key").digest()


def _raw(key: Key) -> bytes:
    if isinstance(key, bytes):
        raw: bytes | None = key
    elif isinstance(key, str):
        raw = _decoded(key.strip())
    else:
        raise ConfigurationError(f"a key is bytes or text, not {type(key).__name__}")
    if raw is None or len(raw) != SIZE:
        what = "this text is no key" if raw is None else f"this key has {len(raw)} bytes"
        raise ConfigurationError(f"{what}: {_HELP}")
    if len(set(raw)) == 1:
        raise ConfigurationError(f"this key repeats one byte, which anybody guesses: {_HELP}")
    return raw


def _decoded(text: str) -> bytes | None:
    """The bytes of a text in hexadecimal or base64, in either alphabet; None when it is neither."""
    try:
        if len(text) == 2 * SIZE:
            return bytes.fromhex(text)
        plain = text.rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None
