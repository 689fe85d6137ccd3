"""An answer as a sheet: a table for a person, JSON in a pipe, CSV or Markdown where asked for."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import click

from farthing.cli.text import exact_json, nano, plain

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Column", "Field", "Sheet", "emit", "money_fields"]

_NARROWEST: Final = 12
"""Characters of a name that stand together before it is broken."""


@dataclass(frozen=True, slots=True)
class Field:
    """For machines: a key in camelCase, and its value of a row: what JSON knows, or a `Decimal`."""

    key: str
    of: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """For people: a title, and the text of a row. `number` is aligned to the right; like what is `whole` it
    is never broken, let alone cut: half a number is a wrong one."""

    title: str
    of: Callable[[Any], str]
    number: bool = False
    whole: bool = False


@dataclass(slots=True, kw_only=True)
class Sheet:
    """Attributes:
    rows: anything that `fields` and `columns` know how to read.
    total: texts of a last line, for people only.
    notes: sentences below the table, for people only.
    empty: the sentence for people where there are no rows.
    document: what JSON shows instead of a list of the rows.
    """

    fields: Sequence[Field]
    columns: Sequence[Column]
    rows: Sequence[Any]
    title: str = ""
    total: Sequence[str] = ()
    notes: Sequence[str] = field(default=())
    empty: str = ""
    document: Any = None


def money_fields(name: str, of: Callable[[Any], Decimal | None]) -> tuple[Field, Field]:
    """USD with its exact digits and, beside it, the nano-dollars."""
    return Field(f"{name}Usd", of), Field(f"{name}Nano", lambda row: nano(of(row)))


def emit(sheet: Sheet, form: str | None) -> None:
    """Write it to stdout as "json", "csv", "markdown", or by who reads: a person at a terminal, or a pipe."""
    if form is None:
        form = "table" if sys.stdout.isatty() else "json"
    if form == "table":
        _table(sheet)
    elif form == "json":
        records = [{f.key: f.of(row) for f in sheet.fields} for row in sheet.rows]
        click.echo(
            exact_json(records if sheet.document is None else sheet.document, ascii_only=not _unicode())
        )
    elif form == "csv":
        click.echo(_csv(sheet), nl=False)
    else:
        click.echo(_markdown(sheet))
    sys.stdout.flush()


def _unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


def _csv(sheet: Sheet) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([f.key for f in sheet.fields])
    writer.writerows([[_csv_cell(f.of(row)) for f in sheet.fields] for row in sheet.rows])
    return out.getvalue()


def _csv_cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value, ensure_ascii=False)


def _markdown(sheet: Sheet) -> str:
    lines = [
        [column.title for column in sheet.columns],
        ["---:" if column.number else "---" for column in sheet.columns],
        *([column.of(row) for column in sheet.columns] for row in sheet.rows),
        *([sheet.total] if sheet.total else ()),
    ]
    table = "\n".join(f"| {' | '.join(_markdown_cell(cell) for cell in line)} |" for line in lines)
    notes = [_markdown_cell(note) for note in sheet.notes]
    return "\n\n".join([table, *notes])


def _markdown_cell(text: str) -> str:
    return plain(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _table(sheet: Sheet) -> None:
    from rich.console import Console  # noqa: PLC0415  only where a person looks
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, markup=False, emoji=False)
    if sheet.title:
        console.print(Text(plain(sheet.title), style="bold"))
    if sheet.rows:
        table, width = _grid(sheet, console.width)
        console.width = max(console.width, width)  # a narrow terminal breaks the lines itself
        console.print(table)
    elif sheet.empty:
        console.print(Text(plain(sheet.empty)))
    for note in sheet.notes:
        console.print(Text(plain(note), style="dim"))


def _grid(sheet: Sheet, room: int) -> tuple[Table, int]:
    """The table, and how many columns of a terminal it takes: no more than `room`, if that is enough."""
    from rich import box  # noqa: PLC0415  only where a person looks
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    lines = [[Text(plain(column.of(row))) for column in sheet.columns] for row in sheet.rows]
    if sheet.total:
        lines.append([Text(plain(cell), style="bold") for cell in sheet.total])
    between = 2 * (len(sheet.columns) - 1)
    widest = [
        max(Text(column.title).cell_len, *(cell.cell_len for cell in cells))
        for column, cells in zip(sheet.columns, zip(*lines, strict=True), strict=True)
    ]
    widths = _narrowed(sheet.columns, widest, room - between)
    for column, width in zip(sheet.columns, widths, strict=True):
        table.add_column(
            Text(column.title),
            justify="right" if column.number else "left",
            no_wrap=column.number or column.whole,
            overflow="fold",
            width=width,
        )
    for line in lines:
        table.add_row(*line)
    return table, sum(widths) + between


def _narrowed(columns: Sequence[Column], widest: Sequence[int], room: int) -> list[int]:
    """Widths that fit together, the wider ones giving way first; rich's own would cut the last column where
    several cannot give way any more."""
    least = [
        wide if column.number or column.whole else min(wide, _NARROWEST)
        for column, wide in zip(columns, widest, strict=True)
    ]
    widths = [max(low, min(wide, room)) for low, wide in zip(least, widest, strict=True)]
    while sum(widths) > room:
        giving = [at for at, low in enumerate(least) if widths[at] > low]
        if not giving:
            break
        widths[max(giving, key=lambda at: widths[at])] -= 1
    return widths
