"""Reads the encrypted tables of a run with the key, as analysts do, and compares them with those of a plain run.

    encrypted.py SCHEMAS PLAIN ENCRYPTED KEY

SCHEMAS is the folder of published documents, PLAIN and ENCRYPTED are runs with the same rows, KEY is the key file.
Complaints go to standard error, the exit code is 1.
"""

import base64
import json
import os
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.parquet.encryption import create_decryption_properties


def refused(what, read):
    """A read without the key, or with another one, must fail."""
    try:
        read()
    except (OSError, pa.ArrowException, duckdb.Error):
        return
    sys.exit(f"{what} can be read")


def main(schemas, plain, encrypted, key_file):
    text = Path(key_file).read_text().strip()
    key, other = base64.b64decode(text), os.urandom(32)
    duck = duckdb.connect()
    duck.execute(f"PRAGMA add_parquet_key('key', '{text}')")
    duck.execute(f"PRAGMA add_parquet_key('other', '{base64.b64encode(other).decode()}')")
    encryption = "encryption_config = {footer_key: 'key'}"
    names = sorted({path.parent.name for path in Path(schemas).glob("*/*.json")})
    read = 0
    for name in names:
        path = Path(encrypted) / f"{name}.parquet"
        if not path.is_file():
            continue
        expected = pq.read_table(Path(plain) / path.name)
        found = pq.read_table(path, decryption_properties=create_decryption_properties(footer_key=key))
        # The corrections of both runs were made at different times.
        timeless = [column for column in expected.column_names if column != "made_at"]
        if not found.select(timeless).equals(expected.select(timeless)):
            sys.exit(f"{name}: pyarrow reads other rows")
        if found.schema.types != expected.schema.types:
            sys.exit(f"{name}: pyarrow reads other types")
        if json.loads(found.schema.metadata[b"facetrack"])["table"] != name:
            sys.exit(f"{name}: pyarrow reads another footer")
        # DuckDB 2.0 does not find the place of a list in the file, which is part of its encryption.
        nested = [field.name for field in expected.schema if pa.types.is_nested(field.type)]
        columns = ", ".join(f'"{column}"' for column in timeless if column not in nested)
        rows = duck.sql(f"SELECT {columns} FROM read_parquet('{path}', {encryption})").to_arrow_table()
        plain_rows = duck.sql(f"SELECT {columns} FROM '{Path(plain) / path.name}'").to_arrow_table()
        if not rows.equals(plain_rows):
            sys.exit(f"{name}: DuckDB reads other rows")
        refused(f"{name} without a key in pyarrow", lambda: pq.read_table(path))
        properties = create_decryption_properties(footer_key=other)
        refused(f"{name} with another key in pyarrow", lambda: pq.read_table(path, decryption_properties=properties))
        refused(f"{name} without a key in DuckDB", lambda: duck.sql(f"SELECT * FROM '{path}'").fetchall())
        wrong = f"SELECT * FROM read_parquet('{path}', encryption_config = {{footer_key: 'other'}})"
        refused(f"{name} with another key in DuckDB", lambda: duck.sql(wrong).fetchall())
        if duck.sql("SELECT count(*) FROM found").fetchall() != [(len(expected),)]:
            sys.exit(f"{name}: DuckDB reads other rows from pyarrow")
        read += 1
    print(read)


main(*sys.argv[1:])
