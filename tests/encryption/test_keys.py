"""What is taken for a key, and where it may come from."""

from __future__ import annotations

import base64
import builtins
import os
from pathlib import Path
from typing import Any

import pytest
from encryption.filled import KEY, OTHER

from langgraph_sessionstore import (
    ConfigurationError,
    EncryptedBackend,
    Keyring,
    MissingExtra,
    SessionCheckpointer,
    SessionManager,
    SessionStore,
    WrongKey,
    open_backend,
)
from langgraph_sessionstore.backends.keyring import VARIABLE, derived, keyring_of

TEXT = base64.b64encode(bytes(range(200, 232))).decode()


@pytest.mark.parametrize(
    "encryption",
    [KEY, KEY.hex(), TEXT, TEXT.rstrip("="), f" {TEXT}\n", base64.urlsafe_b64encode(b"\xfb\xff" * 16).decode(), [KEY],
     (KEY, OTHER), [KEY.hex(), OTHER], iter([KEY]), Keyring(KEY)],
)  # fmt: skip
def test_keys_are_bytes_or_text_one_or_several(encryption: Any) -> None:
    with SessionManager.from_url("memory:", encryption=encryption) as manager:
        manager.create_session("a", summary="s")
        session = manager.get_session("a")
        assert session is not None
        assert session.summary == "s"
        assert isinstance(manager.backend, EncryptedBackend)


@pytest.mark.parametrize("encryption", [None, False])
def test_without_a_key_nothing_is_encrypted(encryption: Any) -> None:
    with open_backend("memory:", encryption=encryption) as backend:
        assert not isinstance(backend, EncryptedBackend)


@pytest.mark.parametrize(
    ("encryption", "words"),
    [
        (b"", "0 bytes"), (KEY[:31], "31 bytes"), (KEY + b"x", "33 bytes"), (KEY[:16], "16 bytes"), ("", "0 bytes"),
        ("secret", r"password|bytes"), ("correct horse battery staple", "from_password"), (b"\0" * 32, "repeats"),
        ([], "at least one"), ([KEY, b"short"], "5 bytes"), (7, "not int"), ([7], "not int"), (object(), "not object"),
        (KEY.hex()[:-1], "key"), ("zz" * 32, "key"),
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused_and_never_shown(encryption: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        SessionManager.from_url("memory:", encryption=encryption)
    if isinstance(encryption, str) and len(encryption) > 3:
        assert encryption not in str(caught.value)


def test_nothing_is_opened_for_a_key_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        open_backend(tmp_path / "new", encryption=b"short")
    assert not (tmp_path / "new").exists()


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match=VARIABLE):
        SessionManager.from_url("memory:", encryption=True)
    monkeypatch.setenv(VARIABLE, f" {KEY.hex()} ,, {TEXT},")
    with SessionManager.from_url(tmp_path, encryption=True) as manager:
        manager.create_session("a")
    with SessionManager.from_url(tmp_path, encryption=KEY) as manager:
        assert manager.get_session("a") is not None
    with SessionManager.from_url(tmp_path, encryption=TEXT) as manager, pytest.raises(WrongKey):
        manager.get_session("a")
    monkeypatch.setenv("MINE", TEXT)
    assert list(Keyring.from_environment("MINE").secrets) == list(Keyring(TEXT).secrets)


def test_a_password_becomes_a_key_slowly_and_always_the_same() -> None:
    salt = os.urandom(16)
    one = derived("a password", salt)
    assert one == derived("a password", salt)
    assert len(one) == 32
    assert one not in (derived("a Password", salt), derived("a password", os.urandom(16)))
    assert repr(Keyring.from_password("a password", salt)) == repr(Keyring(one))


@pytest.mark.parametrize(
    ("password", "salt"), [("", b"x" * 16), (b"bytes", b"x" * 16), ("p", b""), ("p", b"x" * 15), ("p", "text" * 4)]
)
def test_what_makes_no_key_is_refused(password: Any, salt: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"salt|password"):
        Keyring.from_password(password, salt)


def test_new_keys_are_new_and_work() -> None:
    one, two = Keyring.new_key(), Keyring.new_key()
    assert one != two
    assert Keyring(one, two).secrets.keys() == {*Keyring(one).secrets, *Keyring(two).secrets}


def test_a_keyring_does_not_show_its_keys() -> None:
    ring = Keyring(KEY, TEXT, plaintext=True)
    for secret in (repr(KEY), KEY.hex(), TEXT, KEY.decode()):
        assert secret not in repr(ring)
        assert secret not in repr(EncryptedBackend(open_backend("memory:"), ring))
    assert "plaintext=True" in repr(ring)
    assert keyring_of(ring) is ring


def test_a_keyring_stands_for_its_keys() -> None:
    old = Keyring.from_password("a password", b"x" * 16)
    for ring in (Keyring(KEY, old), keyring_of([KEY, old]), Keyring(Keyring(KEY), old)):
        assert list(ring.secrets) == [*Keyring(KEY).secrets, *old.secrets]


def test_every_way_in_takes_keys(tmp_path: Path) -> None:
    with SessionStore.from_url(tmp_path, encryption=KEY) as store:
        store.put(("a",), "k", {"v": 1})
    with SessionCheckpointer.from_url(tmp_path, encryption=KEY) as saver:
        assert saver.get_tuple({"configurable": {"thread_id": "none"}}) is None
    with SessionStore.from_url(tmp_path, encryption=[OTHER, KEY]) as store:
        assert store.search(("a",))[0].value == {"v": 1}


def test_without_its_package_encryption_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cryptography"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="cryptography")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"langgraph-sessionstore\[encryption\]"):
        open_backend("memory:", encryption=KEY)
    with pytest.raises(MissingExtra, match=r"langgraph-sessionstore\[encryption\]"):
        Keyring.from_password("p", b"x" * 16)
