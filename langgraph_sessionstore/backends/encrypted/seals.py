"""How a value is sealed, and what binds it to its place.

    mark 0xC2, etag (16 bytes)     what `Expect` compares, see `ops.links`
    the links of the value         which the storage follows: generated keys only
    format, key (4), lineage (16)  which key, and in which partition it was written
    nonce (12), ciphertext, tag    AES-256-GCM

Rule 1: everything in front of the ciphertext, and the row's key, are authenticated with it. So a value that was
        changed, moved to another row, or cut off from its links does not open.
Rule 2: the AES key is made from the secret and the lineage, which is the name of the partition, hashed. So a value
        does not open in another partition, unless that is a copy: it then holds a sealed row that says of which one.
Rule 3: the nonce is random. Each partition has an AES key of its own, so that it never comes to many values under one.
Rule 4: the etag is a keyed hash of the value and its place. It tells who can read the storage that a row has got its
        earlier value back, and nothing else.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from ... import keys
from ...codec import ENCRYPTED
from ...errors import CorruptData, DataError, MissingExtra, Tampered, Unencrypted, UnsupportedFormat, WrongKey
from ...forks import Lock
from ...ops import Row, etag, named, split_links, split_name
from ..keyring import MISSING, NAME, Keyring

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT = b"\x01"
LINEAGE = 16
_NONCE, _TAG, _ETAG = 12, 16, 16  # bytes
_HEAD = 1 + NAME + LINEAGE
OVERHEAD = 1 + _ETAG + _HEAD + _NONCE + _TAG
"""Bytes that a sealed value has more than the plain one."""
_CIPHERS = 4096  # partitions whose AES key is kept at hand


class Cipher(NamedTuple):
    """What seals in one lineage: AES, and the key of etags."""

    aes: AESGCM
    tags: bytes

    def etag(self, key: bytes, plain: str) -> bytes:
        """The etag of a row whose plain value has this one."""
        return blake2b(key + b"\0" + plain.encode(), key=self.tags, digest_size=_ETAG).digest()


class Seals:
    """Seals and opens the values of a storage."""

    def __init__(self, keyring: Keyring) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ModuleNotFoundError as exc:
            raise MissingExtra(MISSING) from exc
        self._aes, self._invalid = AESGCM, InvalidTag
        self.plaintext = keyring.plaintext
        self._secrets = keyring.secrets
        self.names = list(keyring.secrets)
        """Of the keys; the first one seals."""
        self._lock = Lock()
        self._ciphers: OrderedDict[tuple[bytes, bytes], Cipher] = OrderedDict()

    def seal(self, partition: bytes, key: bytes, value: bytes) -> bytes:
        """The sealed form of a value at this key of a partition."""
        name, lineage = self.names[0], lineage_of(partition)
        cipher = self.cipher(name, lineage)
        tag = cipher.etag(key, etag(value))
        try:
            links, content = _cut(value)
        except CorruptData:  # it only looks like links
            links, content = b"", value
        nonce = os.urandom(_NONCE)
        head = FORMAT + name + lineage
        sealed = cipher.aes.encrypt(nonce, content, _bound(tag, links, head, key))
        return named(tag, b"".join((links, head, nonce, sealed)))

    def open(self, partition: bytes, key: bytes, stored: bytes, lineages: Iterable[bytes]) -> bytes:
        """The value that was sealed at this key in one of these lineages; `Foreign` when it is from another."""
        parts = _parts(stored)
        if self.plaintext and (parts is None or parts.head[:1] != FORMAT or parts.key not in self._secrets):
            return stored
        if parts is None:
            if stored[:1] == ENCRYPTED:
                raise _tampered(partition, key)
            raise Unencrypted(
                f"{_place(partition, key)} is not encrypted, and this storage is opened with encryption. If it held "
                "plain values before, open it with Keyring(key, plaintext=True) and reseal() it"
            )
        if parts.head[:1] < FORMAT:
            raise _tampered(partition, key)
        if parts.head[:1] > FORMAT:
            raise UnsupportedFormat(
                f"{_place(partition, key)} is encrypted in format {parts.head[0]}: upgrade langgraph-sessionstore"
            )
        if parts.key not in self._secrets:
            raise WrongKey(
                f"{_place(partition, key)} is encrypted with key {parts.key.hex()}, which is not in the keyring: it "
                f"holds {', '.join(known.hex() for known in self.names)}"
            )
        if parts.lineage not in lineages:
            raise Foreign(f"{_place(partition, key)} holds what was written in another partition")
        try:
            cipher = self.cipher(parts.key, parts.lineage)
            bound = _bound(parts.tag, parts.links, parts.head, key)
            return parts.links + cipher.aes.decrypt(parts.nonce, parts.content, bound)
        except self._invalid as exc:
            raise _tampered(partition, key) from exc

    def origin(self, partition: bytes, source: bytes) -> Row:
        """The row of a copy that says of which partition it is one."""
        key = keys.ORIGINS[0] + lineage_of(partition).hex().encode()
        return key, self.seal(partition, key, lineage_of(source))

    def lineages(self, partition: bytes, origins: Iterable[Row]) -> tuple[bytes, ...]:
        """All lineages of a partition: its own, and those from which its rows came as copies.

        An origin that cannot be read leads nowhere: after `reseal` it may be left, sealed with a key that is gone.
        """
        rows, found = dict(origins), [lineage_of(partition)]
        for lineage in found:  # which grows
            key = keys.ORIGINS[0] + lineage.hex().encode()
            with suppress(DataError):
                source = self.open(partition, key, rows.get(key, b""), (lineage,))
                found += [source] if len(source) == LINEAGE and source not in found else []
        return tuple(found)

    def etags(self, key: bytes, plain: str, lineages: Iterable[bytes]) -> tuple[str, ...]:
        """The etags that a row with this plain etag may have in its sealed form."""
        found = [self.cipher(name, lineage).etag(key, plain).hex() for lineage in lineages for name in self.names]
        return (*found, plain) if self.plaintext else tuple(found)

    def is_new(self, stored: bytes, partition: bytes) -> bool:
        """Whether this is sealed with the first key, in the partition itself."""
        parts = _parts(stored)
        return parts is not None and parts.head == FORMAT + self.names[0] + lineage_of(partition)

    def cipher(self, name: bytes, lineage: bytes) -> Cipher:
        """What seals with this key in this lineage."""
        found = self._ciphers.get((name, lineage))
        if found is None:
            raw = blake2b(lineage, key=self._secrets[name], digest_size=64, person=b"sessionstore-row").digest()
            found = Cipher(self._aes(raw[:32]), raw[32:])
            with self._lock:
                self._ciphers[name, lineage] = found
                while len(self._ciphers) > _CIPHERS:
                    self._ciphers.popitem(last=False)
        return found


class Foreign(Tampered):
    """A value from a lineage that is not known to be one of its partition's."""


def lineage_of(partition: bytes) -> bytes:
    """The lineage of what is written in a partition."""
    return blake2b(partition, digest_size=LINEAGE, person=b"sessionstore-lin").digest()


def _place(partition: bytes, key: bytes) -> str:
    return f"the row {_words(key)} of {_words(partition)}"


def _words(name: bytes) -> str:
    try:
        return repr(keys.decode(name))[:200]
    except CorruptData:
        return repr(name)[:200]


def _tampered(partition: bytes, key: bytes) -> Tampered:
    return Tampered(f"{_place(partition, key)} was changed, moved or swapped by somebody without the key")


class _Parts(NamedTuple):
    """A sealed value, taken apart."""

    tag: bytes
    links: bytes
    head: bytes
    nonce: bytes
    content: bytes

    @property
    def key(self) -> bytes:
        """The name of the key."""
        return self.head[1 : 1 + NAME]

    @property
    def lineage(self) -> bytes:
        """Of what it was written in."""
        return self.head[1 + NAME :]


def _parts(stored: bytes) -> _Parts | None:
    """Take a sealed value apart; None when it cannot be one."""
    tag, rest = split_name(stored)
    try:
        links, sealed = _cut(rest)
    except CorruptData:
        return None
    if not tag or len(sealed) < _HEAD + _NONCE + _TAG:
        return None
    return _Parts(tag, links, sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE :])


def _cut(value: bytes) -> tuple[bytes, bytes]:
    """The links in front of a value, and the rest."""
    rest = split_links(value)[1]
    return value[: len(value) - len(rest)], rest


def _bound(tag: bytes, links: bytes, head: bytes, key: bytes) -> bytes:
    """What is authenticated beside the content; each part has a known length, or tells it."""
    return b"".join((tag, head, len(key).to_bytes(4, "big"), key, links))
