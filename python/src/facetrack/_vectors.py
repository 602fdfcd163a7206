"""Mean embeddings of people, and their similarity."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ._tables import KEY


def matrix(table: pa.Table) -> np.ndarray:
    """Returns the column `embedding` as an array of the shape `(rows, length)`."""
    column = table["embedding"].combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return values.reshape(len(table), -1) if len(table) else np.zeros((0, 0))


def means(embeddings: pa.Table, clusters: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Returns the keys of the people in rising order, and the mean embedding of each, of unit norm.

    All tracks have the same weight, as in the gallery. Of several embedders, the first counts, by which tracks are
    linked.
    """
    names = [embedder["name"] for embedder in json.loads(embeddings.schema.metadata[KEY]).get("embedders", [])]
    if names:
        embeddings = embeddings.filter(pc.equal(embeddings["embedder"].cast(pa.string()), names[0]))
    keys = pd.DataFrame(
        {"video_id": embeddings["video_id"].cast(pa.string()).to_pylist(), "track_id": embeddings["track_id"].to_numpy()}
    )
    owners = clusters[["video_id", "track_id", "cluster_id"]].astype({"video_id": object})
    owner = keys.merge(owners, on=["video_id", "track_id"], how="left")["cluster_id"]
    known = owner.notna().to_numpy()
    ids, places = np.unique(owner[known].to_numpy(dtype=np.int64), return_inverse=True)
    vectors = matrix(embeddings)[known]
    sums = np.zeros((len(ids), vectors.shape[1] if vectors.ndim == 2 else 0))
    np.add.at(sums, places, vectors)
    return ids, unit(sums)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors of unit norm; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    norms[norms == 0] = 1
    units: np.ndarray = vectors / norms
    return units


def similar(ids: np.ndarray, vectors: np.ndarray, chosen: int, key: str, n: int | None) -> pd.DataFrame:
    """Returns the other people in order of similarity: the key and `similarity`."""
    at = np.flatnonzero(ids == chosen)
    if not len(at):
        return pd.DataFrame({key: pd.Series(dtype=np.int64), "similarity": pd.Series(dtype=np.float64)})
    rows = pd.DataFrame({key: ids, "similarity": np.clip(vectors @ vectors[at[0]], -1, 1)})
    rows = rows[rows[key] != chosen].sort_values(["similarity", key], ascending=[False, True])
    return rows.head(n) if n is not None else rows
