"""The key of encrypted runs and galleries."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path
from typing import Any

from ._errors import Error

#: The environment variable with the path of the key file.
VARIABLE = "FACETRACK_ENCRYPTION_KEY_FILE"
#: Lengths of keys, bytes.
LENGTHS = (16, 32)
#: What is hashed before a key for its identifier.
MARK = b"facetrack key identifier 1\0"


class Key:
    """A key. Its text form shows the identifier only."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Reads a key file. Raises `Error` when the file cannot be read or is no key."""
        try:
            content = Path(path).read_bytes()
            self._bytes = base64.b64decode(content.strip(), validate=True)
        except OSError as error:
            raise Error(f"failed to read the encryption key `{path}`: {error.strerror}") from error
        except binascii.Error:
            self._bytes = b""
        if len(self._bytes) not in LENGTHS:
            # Without the cause, which may have the content of the file.
            raise Error(f"failed to read the encryption key `{path}`: it is not the Base64 of 32 or 16 bytes") from None
        #: Identifier, 16 hexadecimal digits, as in manifests and tables.
        self.id = hashlib.sha256(MARK + self._bytes).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"<key {self.id}>"

    def decryption_properties(self) -> Any:
        """Returns what `pyarrow.parquet` reads encrypted tables with."""
        try:
            from pyarrow.parquet.encryption import create_decryption_properties
        except ImportError as error:
            raise Error("this version of pyarrow cannot read with a key", "upgrade pyarrow") from error
        return create_decryption_properties(footer_key=self._bytes)


def given(path: str | os.PathLike[str] | Key | None) -> Key | None:
    """Returns the key in a file; without a path that in the file that the environment names, if it names one."""
    if isinstance(path, Key):
        return path
    path = path or os.environ.get(VARIABLE)
    return Key(path) if path else None


def check(path: Path, found: str | None, key: Key | None) -> None:
    """Raises `Error` unless what is at `path` has the key, by the identifier `found`: `None` without encryption, empty
    for a file that does not say which key it has."""
    if found is None:
        if key is not None:
            hint = f"leave out encryption_key and {VARIABLE}, or encrypt it with `facetrack key encrypt`"
            raise Error(f"`{path}` is not encrypted, and a key is given", hint)
    elif key is None:
        raise Error(f"`{path}` is encrypted, and no key is given", f"pass encryption_key=FILE, or set {VARIABLE}")
    elif found and found != key.id:
        message = f"`{path}` is encrypted with the key {found}, and the given key is {key.id}"
        raise Error(message, "pass the file of the other key as encryption_key")


def check_folder(path: Path, index: dict[str, Any], key: Key | None) -> None:
    """Checks the key of a folder by its manifest or index."""
    encryption = index.get("encryption")
    if encryption is None:
        check(path, None, key)
    elif not isinstance(encryption, dict) or encryption.get("rotating_to") is not None:
        message = f"the tables of `{path}` are partly encrypted with another key: a rotation of its key was interrupted"
        raise Error(message, "run the same `facetrack key` command with the same keys again, which completes it")
    else:
        check(path, str(encryption.get("key_id", "")), key)


def is_encrypted(path: Path) -> bool:
    """Whether a Parquet file has an encrypted footer."""
    with open(path, "rb") as file:
        return file.read(4) == b"PARE"
