"""The table: one row for each wire flavour, saying where its bodies and events state what.

All that a row needs beyond paths is a few rules of arithmetic: which counts the provider leaves out of
which others. Read on 2026-11-21 unless a row says otherwise; "SDK" is the openai package 3.52.0.
"""

from farthing.usage.flavours.table import DIALECTS, FLAVOURS, row_of

__all__ = ["DIALECTS", "FLAVOURS", "row_of"]
