"""Rows of the history as a Parquet file, by DuckDB: one wheel that needs nothing else, and that reads such files too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from opsconsole.history.export import WHOLE, WORDS
from opsconsole.history.rows import Block
from opsconsole.history.schema import HistoryError

SCRATCH = ".duckdb"
"""Ending of the file in which DuckDB gathers the rows."""


def write_parquet(path: Path, names: Sequence[str], found: Iterable[Block]) -> int:
    """One Parquet file, moments as timestamps in UTC, named `time`; how many rows.

    Raises HistoryError, also where the extra `parquet` is missing.
    """
    try:
        import duckdb
    except ImportError:
        raise HistoryError("Parquet needs what is not installed; run: pip install 'opsconsole[parquet]', or write .csv or .db") from None
    kinds = {name: "varchar" if name in WORDS else "integer" if name in WHOLE else "double" for name in names if name != "at"}
    with duckdb.connect(path.with_name(path.name + SCRATCH)) as db:  # on disk: what is exported may be larger than memory
        # `time`, as in SQL's views: DuckDB keeps the word `at` to itself
        db.execute(f"create table found (time timestamp, {', '.join(f'{name} {kind}' for name, kind in kinds.items())})")
        for block in found:
            # moments as numpy's own timestamps; readings go over as they are, NaN as null
            db.register("block", {"time": (block["at"] * 1000).astype("datetime64[ms]"), **{name: block[name] for name in kinds}})
            db.execute("insert into found select * from block")
            db.unregister("block")
        try:
            db.execute("copy found to ? (format parquet, compression zstd)", [str(path)])
        except duckdb.Error as error:
            raise HistoryError(f"{path} cannot be written: {error}") from None
        return db.execute("select count(*) from found").fetchall()[0][0]
