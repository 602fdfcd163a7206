"""Tables: files whose footer says what they are, and data frames of their rows.

`tables.json` has the version and the columns of every table. `cargo xtask schemas` writes the file from the source of
the tables, as it writes the folder `schemas`.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from . import _crypt
from ._errors import RESTORE, UPGRADE, Error

#: Key of the footer.
KEY = b"facetrack"


@cache
def documents() -> dict[str, dict[str, Any]]:
    """Returns the document of every table, by name: version, columns, sort key, stage that writes the table."""
    text = resources.files(__package__).joinpath("tables.json").read_text(encoding="utf-8")
    known: dict[str, dict[str, Any]] = json.loads(text)
    return known


def document(name: str) -> dict[str, Any]:
    """Returns the document of a table."""
    if name not in documents():
        raise Error(f"there is no table `{name}`", f"the tables are {', '.join(documents())}")
    return documents()[name]


def read_json(path: Path, kind: str, hint: str) -> dict[str, Any]:
    """Reads a JSON object. `kind` says what the file should be."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise Error(f"failed to read `{path}`: {error.strerror}") from error
    except ValueError as error:
        raise Error(f"`{path}` is not {kind} of facetrack: {error}", hint) from error
    if not isinstance(content, dict):
        raise Error(f"`{path}` is not {kind} of facetrack: it is no JSON object", hint)
    return content


#: How JSON calls values of a type.
WORDS: dict[Any, str] = {str: "a text", list: "a list", dict: "an object"}


def check_shape(value: Any, shape: Any, where: str = "") -> str | None:
    """Returns what a JSON value lacks to have a shape, as a clause; `None` if it has the shape.

    A shape is a type, a list of one shape, or an object with at least these members.
    """
    kind: Any = shape if isinstance(shape, type) else type(shape)
    if not isinstance(value, kind):
        return f"{where or 'it'} is not {WORDS[kind]}"
    if isinstance(shape, dict):
        missing = next((name for name in shape if name not in value), None)
        if missing is not None:
            return f"{where or 'it'} has no `{missing}`"
        faults = (check_shape(value[name], part, f"`{name}`") for name, part in shape.items())
        return next((fault for fault in faults if fault is not None), None)
    if isinstance(shape, list):
        faults = (check_shape(item, shape[0], f"item {at} of {where}") for at, item in enumerate(value))
        return next((fault for fault in faults if fault is not None), None)
    return None


def read_table(path: Path, name: str, key: _crypt.Key | None = None) -> pa.Table:
    """Reads a table of the present major version, encrypted with a key or plain without one; columns that were added
    since are null.

    Raises `Error` when the file is missing, damaged, another table, or of a version that this package does not read.
    """
    try:
        _crypt.check(path, "" if _crypt.is_encrypted(path) else None, key)
        properties = None if key is None else key.decryption_properties()
        # Not `read_table`, which takes folders named `key=value` for columns.
        with pq.ParquetFile(path, decryption_properties=properties) as file:
            table = file.read()
    except FileNotFoundError as error:
        raise Error(f"failed to read `{path}`: the file does not exist", RESTORE) from error
    except PermissionError as error:
        raise Error(f"failed to read `{path}`: permission denied") from error
    except (OSError, pa.ArrowException) as error:
        raise Error(f"failed to read the Parquet file `{path}`: {error}", RESTORE) from error
    check_version(path, name, footer(path, name, table))
    table = with_new_columns(table, name)
    missing = [column["name"] for column in document(name)["columns"] if column["name"] not in table.column_names]
    if missing:
        raise Error(f"`{path}` is not a `{name}` table of facetrack: it has no column `{missing[0]}`", RESTORE)
    return table


def footer(path: Path, name: str, table: pa.Table) -> dict[str, Any]:
    """Returns the JSON of the footer."""
    text = (table.schema.metadata or {}).get(KEY)
    wrong = f"`{path}` is not a `{name}` table of facetrack: "
    if text is None:
        raise Error(wrong + f"it has no footer key `{KEY.decode()}`", RESTORE)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise Error(wrong + f"its footer is unreadable: {error}", RESTORE) from error
    if not isinstance(content, dict) or content.get("table") != name:
        found = content.get("table") if isinstance(content, dict) else content
        raise Error(wrong + f"it contains the table `{found}`", RESTORE)
    fault = check_shape(content.get("embedders", []), [{"name": str}], "`embedders` of its footer")
    if fault is not None:
        raise Error(wrong + fault, RESTORE)
    return content


def check_version(path: Path, name: str, footer: dict[str, Any]) -> None:
    """Checks that the major version is ours, and the minor version not newer than ours."""
    found, ours = str(footer.get("version")), str(document(name)["version"])
    try:
        (major, minor), (our_major, our_minor) = (tuple(map(int, v.split(".")[:2])) for v in (found, ours))
    except ValueError as error:
        raise Error(f"`{path}` is not a `{name}` table of facetrack: its version is {found!r}", RESTORE) from error
    if (major, minor) > (our_major, our_minor):
        raise Error(f"`{path}` contains `{name}` {found}, which is too new; this version reads {ours}", UPGRADE)
    if major < our_major:
        hint = f"run again with --from {document(name)['producer']}"
        raise Error(f"`{path}` contains `{name}` {found}, which is too old; this version reads {ours}", hint)


def with_new_columns(table: pa.Table, name: str) -> pa.Table:
    """Adds the nullable columns that a table of an earlier minor version does not have."""
    for column in document(name)["columns"]:
        if column["name"] not in table.column_names and column["nullable"]:
            kind = pa.int64() if column["type"] == "int64" else pa.null()
            table = table.append_column(pa.field(column["name"], kind), pa.nulls(len(table), kind))
    return table


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Returns the rows. Whole numbers that may be missing have the type `Int64`, so that they stay whole."""
    frame: pd.DataFrame = table.to_pandas()
    for at, field in enumerate(table.schema):
        if field.type == pa.int64() and field.nullable:
            frame[field.name] = table.column(at).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame


def concat(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Returns the rows of all frames; `video_id` stays categorical."""
    ids = pd.Index(sorted({video_id for frame in frames for video_id in frame["video_id"].unique()}), dtype=object)
    dtype = pd.CategoricalDtype(ids)
    parts = [frame.assign(video_id=frame["video_id"].astype(dtype)) for frame in frames]
    # A part without rows would decide types without knowing them.
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
