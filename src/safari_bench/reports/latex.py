"""A report -> a LaTeX document that compiles on its own, of tables that can be copied into another one.

Needs booktabs and geometry only, and holds ASCII only, so that any engine of the last ten years takes it.
"""

import unicodedata
from collections.abc import Sequence

from safari_bench.reports.comparisons import BEST, LIKE_BEST
from safari_bench.reports.layout import Part
from safari_bench.reports.report import Report
from safari_bench.reports.templates import fill

__all__ = ["render"]

_COMMANDS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "-": "-{}",  # no ligature: "--" stays two signs
    "[": "{[}",  # after \\ it would begin an optional argument
    "]": "{]}",
    **{sign: f"\\{sign}" for sign in "#$%&_{}"},
    "±": r"$\pm$",
    "∞": r"$\infty$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\to$",
    "·": r"$\cdot$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{EN DASH}": "--",
}
_SIGNS = {BEST: r"\textbf{%s}", LIKE_BEST: r"\underline{%s}", "": "%s"}


def render(report: Report) -> str:
    """The document: one page for each table, and a legend."""
    return fill("table1.tex.j2", {"tex": _text, "tex_entry": _entry}, report=report)


def _entry(parts: Sequence[Part]) -> str:
    # a hyphen in an entry is a minus
    return " / ".join(_SIGNS[part.mark] % _text(part.text).replace("-{}", "$-$") for part in parts)


def _text(text: str) -> str:
    """Escaped; a character that is neither ASCII nor known loses its accents or becomes a question mark."""
    return "".join(_COMMANDS.get(sign) or _ascii(sign) for sign in text)


def _ascii(sign: str) -> str:
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    printable = "".join(_COMMANDS.get(c, c) for c in plain if c.isprintable())
    return printable or (" " if sign.isspace() else "?")
