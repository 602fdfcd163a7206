"""Reads the tables of a run as analysts do, and rewrites them as analysts might.

    interop.py TASK SCHEMAS RUN [FOLDER]
    interop.py answers PAGE RUN LIBRARY

TASK is the program that reads (`pyarrow`, `pandas`, `polars`, `duckdb`, `datasets`), or `rewrite`, which writes
every table into a subfolder of FOLDER per program. `answers` executes every snippet of a page, whose programs
must agree. SCHEMAS is the folder of published documents: what
they say is what the programs must see. Complaints go to standard error, the exit code is 1.
"""

import ast
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

KEY = "facetrack"


class Table:
    """A table of the run beside its published document."""

    def __init__(self, document, run):
        self.document = document
        self.name = document["table"]
        self.path = run / f"{self.name}.parquet"
        footer = pq.read_metadata(self.path).metadata[KEY.encode()]
        self.footer = footer.decode()
        self.rows = pq.read_metadata(self.path).num_rows
        self.columns = [Column(c, json.loads(self.footer)) for c in document["columns"]]

    def check(self, condition, complaint):
        if not condition:
            sys.exit(f"{self.name}: {complaint}")


class Column:
    """A column as its document describes it."""

    def __init__(self, document, footer):
        self.name = document["name"]
        self.type = document["type"].split(",", 1)[0] if "list" in document["type"] else document["type"]
        self.nullable = document["nullable"]
        self.categories = document.get("categories")
        self.is_word = document["type"].startswith("dictionary")
        length = re.search(r"\[(\w+)\]", document["type"])
        self.length = None
        if length:
            self.length = footer["embedders"][0]["dim"] if length[1] == "dim" else int(length[1])

    def arrow(self):
        plain = {
            "bool": pa.bool_(),
            "int64": pa.int64(),
            "float32": pa.float32(),
            "float64": pa.float64(),
            "utf8": pa.string(),
            "binary": pa.binary(),
        }
        if self.length:
            return pa.list_(pa.field("item", pa.float32(), nullable=False), self.length)
        if self.is_word:
            return pa.dictionary(pa.int32(), pa.string())
        if self.type == "list<float32>":
            return pa.list_(pa.field("item", pa.float32(), nullable=False))
        return plain[self.type]


def check_names(table, names):
    table.check(list(names) == [c.name for c in table.columns], f"has the columns {list(names)}")


def check_words(table, column, words):
    if column.categories:
        strange = {w for w in words if w is not None} - set(column.categories)
        table.check(not strange, f"{column.name} holds {strange}")


def check_sorted(table, rows):
    """`rows` are tuples of the sort key."""
    table.check(all(a < b for a, b in zip(rows, rows[1:])), "is not in the order of its sort key")


def check_vectors(table, column, matrix):
    """`matrix` has a vector in each row."""
    shape = (table.rows, column.length)
    table.check(matrix.shape == shape, f"{column.name} has the shape {matrix.shape}, not {shape}")
    table.check(matrix.dtype == np.float32, f"{column.name} is of {matrix.dtype}")
    if column.name == "embedding" and table.rows:
        norms = np.linalg.norm(matrix.astype(np.float64), axis=1)
        table.check(np.allclose(norms, 1.0, atol=1e-3), f"{column.name} has the norms {norms}")


def read_pyarrow(table):
    read = pq.read_table(table.path)
    check_names(table, read.column_names)
    for column in table.columns:
        found = read.schema.field(column.name)
        table.check(found.type == column.arrow(), f"{column.name} is {found.type}, not {column.arrow()}")
        table.check(found.nullable == column.nullable, f"{column.name} has the wrong nullability")
        table.check(column.nullable or read[column.name].null_count == 0, f"{column.name} has nulls")
        if column.categories:
            check_words(table, column, read[column.name].to_pylist())
    footer = json.loads(read.schema.metadata[KEY.encode()])
    table.check(footer["table"] == table.name, f"the footer says {footer['table']}")
    table.check(footer["version"] == table.document["version"], f"the footer says {footer['version']}")
    check_sorted(table, list(zip(*(read[key].to_pylist() for key in table.document["sort_key"]))))


def read_pandas(table):
    frame = pd.read_parquet(table.path)
    check_names(table, frame.columns)
    table.check(len(frame) == table.rows, f"has {len(frame)} rows")
    for column in table.columns:
        values = frame[column.name]
        if column.length and not column.nullable and table.rows:
            check_vectors(table, column, np.stack(values))
        if column.length and column.nullable:
            wrong = [v for v in values if v is not None and (v.dtype, len(v)) != (np.float32, column.length)]
            table.check(not wrong, f"{column.name} holds {wrong[:1]}")
        if column.is_word:
            table.check(isinstance(values.dtype, pd.CategoricalDtype), f"{column.name} is {values.dtype}")
            check_words(table, column, values.dropna().unique())


def read_polars(table):
    frame = pl.read_parquet(table.path)
    check_names(table, frame.columns)
    table.check(len(frame) == table.rows, f"has {len(frame)} rows")
    for column in table.columns:
        found = frame.schema[column.name]
        if column.length:
            wanted = pl.Array(pl.Float32, column.length)
            table.check(found == wanted, f"{column.name} is {found}, not {wanted}")
            if not column.nullable:
                check_vectors(table, column, frame[column.name].to_numpy())
        if column.is_word:
            table.check(isinstance(found, (pl.Categorical, pl.Enum)), f"{column.name} is {found}")
            check_words(table, column, frame[column.name].cast(pl.String).unique().to_list())
    footer = pl.read_parquet_metadata(table.path)
    table.check(footer.get(KEY) == table.footer, f"Polars sees the footer {footer.get(KEY)}")


def read_duckdb(table):
    source = duckdb.read_parquet(str(table.path))
    check_names(table, source.columns)
    table.check(source.shape[0] == table.rows, f"has {source.shape[0]} rows")
    for column in table.columns:
        found = str(source[column.name].types[0])
        if column.length:
            table.check(found.startswith("FLOAT["), f"{column.name} is {found}")
            cast = f'"{column.name}"::FLOAT[{column.length}]'
            rows = source.project(f"{cast} AS vector").fetchnumpy()["vector"]
            if not column.nullable and table.rows:
                check_vectors(table, column, np.stack(rows))
        if column.is_word:
            word = f'"{column.name}"::VARCHAR AS word'
            check_words(table, column, [row[0] for row in source.project(word).distinct().fetchall()])
    query = "SELECT value FROM parquet_kv_metadata(?) WHERE decode(key) = ?"
    found = duckdb.execute(query, [str(table.path), KEY]).fetchall()
    table.check(found and bytes(found[0][0]).decode() == table.footer, f"DuckDB sees the footer {found}")


def read_datasets(table):
    """Hugging Face's `datasets`, which copies what it reads into a cache, and refuses tables without rows."""
    if not table.rows:
        return
    # Read at import; a test has no business elsewhere.
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache:
        files = {"data_files": str(table.path), "split": "train", "cache_dir": cache}
        read = datasets.load_dataset("parquet", **files)
        check_names(table, read.column_names)
        table.check(len(read) == table.rows, f"has {len(read)} rows")
        for column in (c for c in table.columns if c.length):
            wanted = datasets.List(datasets.Value("float32"), length=column.length)
            found = read.features[column.name]
            table.check(found == wanted, f"{column.name} is {found}, not {wanted}")
            if not column.nullable and table.rows:
                check_vectors(table, column, np.asarray(read.with_format("numpy")[column.name]))


def rewrite_pyarrow(table, target):
    """The key survives by itself."""
    pq.write_table(pq.read_table(table.path), target)


def rewrite_pandas(table, target):
    """pandas forgets the key, which is put back; types stay with the Arrow backend."""
    frame = pd.read_parquet(table.path, dtype_backend="pyarrow")
    rewritten = pa.Table.from_pandas(frame, preserve_index=False)
    keys = {**rewritten.schema.metadata, KEY.encode(): table.footer.encode()}
    pq.write_table(rewritten.replace_schema_metadata(keys), target)


def rewrite_polars(table, target):
    pl.read_parquet(table.path).write_parquet(target, metadata={KEY: table.footer})


def rewrite_duckdb(table, target):
    value = table.footer.replace("'", "''")
    options = f"FORMAT parquet, KV_METADATA {{{KEY}: '{value}'}}"
    duckdb.execute(f"COPY (SELECT * FROM read_parquet('{table.path}')) TO '{target}' ({options})")


READERS = {
    "pyarrow": read_pyarrow,
    "pandas": read_pandas,
    "polars": read_polars,
    "duckdb": read_duckdb,
    "datasets": read_datasets,
}
WRITERS = {
    "pyarrow": rewrite_pyarrow,
    "pandas": rewrite_pandas,
    "polars": rewrite_polars,
    "duckdb": rewrite_duckdb,
}


def evaluate(snippet, world):
    """What a notebook would show: the value of the last line."""
    tree = ast.parse(snippet)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<snippet>", "exec"), world)
    return last and eval(compile(ast.Expression(last.value), "<snippet>", "eval"), world)


def plain(answer):
    """Rows of any answer; what is missing is None, and numbers are numbers."""
    if isinstance(answer, pl.DataFrame):
        rows = answer.rows()
    elif isinstance(answer, pd.DataFrame):
        rows = answer.itertuples(index=False, name=None)
    else:
        rows = answer.fetchall()
    return [tuple(None if pd.isna(cell) else float(cell) for cell in row) for row in rows]


def same(ours, theirs):
    """Sums of floats depend on their order, by far less than anybody asks."""
    cells = lambda a, b: (a is None) == (b is None) and (a is None or abs(a - b) < 1e-5)
    rows = lambda a, b: len(a) == len(b) and all(map(cells, a, b))
    return len(ours) == len(theirs) and all(map(rows, ours, theirs))


def answers(page, run, library):
    """Executes every snippet of a page, section by section."""
    worlds, answered = {"pandas": {}, "polars": {}}, 0
    for section in re.split(r"^## ", Path(page).read_text(), flags=re.MULTILINE):
        title, found = section.split("\n", 1)[0], {}
        for language, snippet in re.findall(r"^```(\w+)\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL):
            snippet = snippet.replace("runs/your", run).replace("runs/library", library)
            program = snippet.split("\n", 1)[0].strip("# ") if language == "python" else "duckdb"
            try:
                answer = duckdb.sql(snippet) if language == "sql" else evaluate(snippet, worlds[program])
                found[program] = answer if answer is None else plain(answer)
            except Exception as error:
                sys.exit(f"{title}, {program}: {type(error).__name__}: {error}")
        answers = {program: answer for program, answer in found.items() if answer is not None}
        if answers:
            answered += 1
            if set(answers) != {"pandas", "polars", "duckdb"}:
                sys.exit(f"{title}: answered by {', '.join(answers)} only")
            if not answers["pandas"]:
                sys.exit(f"{title}: an answer without a row says nothing")
            for program in ("polars", "duckdb"):
                if not same(answers["pandas"], answers[program]):
                    sys.exit(f"{title}: pandas says {answers['pandas']}, {program} says {answers[program]}")
    if answered != 11:
        sys.exit(f"{answered} questions were answered, not ten and that across videos")


def main(task, schemas, run, folder=None):
    if task == "answers":
        return answers(schemas, run, folder)
    # The newest version of each, which a run of this program holds.
    newest = [max(folder.glob("*.json")) for folder in sorted(Path(schemas).glob("*/"))]
    documents = [json.loads(path.read_text()) for path in newest]
    # Those of a library and of corrections are not in every run.
    others = ("library", "edits")
    tables = [Table(document, Path(run)) for document in documents if document["producer"] not in others]
    if not tables:
        sys.exit(f"no documents in {schemas}")
    for table in tables:
        if task != "rewrite":
            READERS[task](table)
            continue
        for program, rewrite in WRITERS.items():
            target = Path(folder) / program / table.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            rewrite(table, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
