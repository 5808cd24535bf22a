"""The command that writes the past into files that other tools read."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from opsconsole.cli.moments import Duration
from opsconsole.cli.output import CommandError, Exit, Progress, narrate
from opsconsole.cli.past import now_of, open_past, typed_span

BYTES_A_VALUE = 9
"""Of a row in a file of SQLite; CSV is about as large, Parquet smaller."""
ENDINGS = (".csv", ".parquet", ".db", ".sqlite")


@click.command()
@click.argument("target", metavar="FILE")
@click.option("--kind", "kinds", multiple=True, help="gpu, node, worker, fleet, site, model or event; all of them in a .db file.")
@click.option("--series", "series", multiple=True, help="Only this reading, as in gpu.power_w; may be given again.")
@click.option("--node", help="Only of this node.")
@click.option("--since", default="1h", show_default=True, help="15m, 2h, 1d (ago; with --file before its end), 14:30 or an ISO time.")
@click.option("--until", default="now", show_default=True, help="The same, or now.")
@click.option("--step", type=Duration(), default="1s", show_default=True,
              help="A row each so long, of means; 1m and 10m with lowest and highest.")
@click.option("--file", type=click.Path(), help="From this history, as `incident save` writes one.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.pass_obj
def export(
    settings, target: str, kinds: Sequence[str], series: Sequence[str], node: str | None, since: str, until: str, step: float,
    file: str | None, force: bool,
) -> int:
    """Write a span of history to FILE: .csv (- is stdout) or .parquet of one kind, or .db, a plain SQLite file of all."""
    ending = ".csv" if target == "-" else Path(target).suffix.lower()
    if ending not in ENDINGS:
        raise click.UsageError(f"{target}: the ending of the name tells the form: {', '.join(ENDINGS)}")
    if step < 1:
        raise click.UsageError("--step is at least 1s: a second is what is recorded")
    with open_past(settings, file) as reader:
        start, end = typed_span(since, until, now_of(reader, file))
        wanted = _wanted(kinds, series, node, start, end, step, ending)
        count = _to_stdout(reader, wanted) if target == "-" else _to_file(reader, wanted, Path(target), ending, force)
    narrate(f"{count} rows")
    return Exit.DONE


def _wanted(
    kinds: Sequence[str], series: Sequence[str], node: str | None, since: float, until: float, step_s: float, ending: str
) -> list:
    """What is asked for, one a kind. Raises CommandError."""
    from opsconsole.control import archive

    try:
        metrics = [archive.find_metric(name) for name in series]
        chosen: dict[str, tuple[str, ...]] = {kind: archive.columns_of(kind) for kind in kinds}
    except archive.HistoryError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    for kind in dict.fromkeys(metric.kind for metric in metrics):
        chosen[kind] = tuple(metric.column for metric in metrics if metric.kind == kind)
    if not chosen and ending in (".db", ".sqlite"):
        chosen = {kind: archive.columns_of(kind) for kind in archive.KINDS if node is None or archive.is_of_nodes(kind)}
    if node is not None and (none := [kind for kind in chosen if not archive.is_of_nodes(kind)]):
        raise CommandError(f"--node chooses among things of nodes, and a {none[0]} is of none; leave it out", Exit.USAGE)
    if len(chosen) != 1 and ending in (".csv", ".parquet"):
        words = f"a {ending} file holds one kind of rows"
        raise CommandError(f"{words}: name it with --kind or --series, or write a .db, which holds all", Exit.USAGE)
    return [archive.Wanted(kind, columns, since, until, step_s, node) for kind, columns in chosen.items()]


def _to_stdout(reader, wanted: list) -> int:
    from opsconsole.control import archive

    return archive.write_csv(sys.stdout, *_rows(reader, wanted[0]))


def _rows(reader, wanted) -> tuple[Sequence[str], Iterator]:
    """Columns and blocks of rows, with a word now and then on how many have come."""
    from opsconsole.control import archive

    def told() -> Iterator:
        count, progress = 0, Progress(f"{wanted.kind} rows")
        for block in found:
            yield block
            count += len(block["at"])
            progress(count)

    names, found = archive.rows_of(reader, wanted)
    return names, told()


def _to_file(reader, wanted: list, path: Path, ending: str, force: bool) -> int:
    from opsconsole.control import archive

    _check_room(reader, wanted, path)
    with archive.whole_or_not_at_all(path, force) as draft:
        if ending in (".db", ".sqlite"):
            count = archive.write_sqlite(draft, ((archive.table_name(one.kind), *_rows(reader, one)) for one in wanted))
        elif ending == ".parquet":
            count = archive.write_parquet(draft, *_rows(reader, wanted[0]))
        else:
            with draft.open("w", newline="") as stream:
                count = archive.write_csv(stream, *_rows(reader, wanted[0]))
        if not count:
            raise archive.HistoryError("nothing was recorded of that in that span; no file was written")
    return count


def _check_room(reader, wanted: list, path: Path) -> None:
    """A full disk stops the recorder, too. Raises CommandError."""
    from opsconsole.control import archive

    rows = [archive.expected_rows(reader, one) for one in wanted]
    need = sum(count * len(one.names) * BYTES_A_VALUE for count, one in zip(rows, wanted, strict=True))
    free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else need
    if need > free:
        words = f"that may be {sum(rows)} rows, {need / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free at {path.parent}"
        raise CommandError(f"{words}; choose --step 1m, --node, --series or a shorter span")
