"""A report -> a LaTeX document that compiles on its own, of tables that can be copied into another one.

Needs booktabs and geometry only, and holds ASCII only, so that any engine of the last ten years takes it.
"""

import unicodedata
from collections.abc import Sequence

from safari_bench.reports.comparisons import BEST, LIKE_BEST
from safari_bench.reports.layout import Part, Sheet
from safari_bench.reports.report import BEST_MEANS, LIKE_BEST_MEANS, Report

__all__ = ["render"]

_HEAD = r"""\documentclass{article}
\usepackage[a3paper,landscape,margin=15mm]{geometry}
\usepackage{booktabs}
\begin{document}
"""
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
    captions = report.captions()
    pages = [
        _table(sheet, f"{sheet.dataset}: {sheet.title}. {' '.join(captions[sheet.dataset])}")
        for sheet in report.sheets()
    ]
    signs = [rf"\textbf{{bold}}: {_text(BEST_MEANS)}", rf"\underline{{underlined}}: {_text(LIKE_BEST_MEANS)}"]
    body = "\n\n".join([*map(_text, report.legend()), *signs])
    legend = f"\\section*{{{_text(report.name)}: how to read this}}\n\\setlength{{\\parindent}}{{0pt}}\n{body}\n"
    return _HEAD + "\\clearpage\n".join([*pages, legend]) + "\\end{document}\n"


def _table(sheet: Sheet, caption: str) -> str:
    body = [" & ".join([_text(label), *map(_entry, entries)]) for label, entries in sheet.rows]
    lines = [
        r"\begin{table}[ht]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_text(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(sheet.head)}}}",
        r"\toprule",
        " & ".join(["sampler", *map(_text, sheet.head)]) + r" \\",
        r"\midrule",
        *(line + r" \\" for line in body),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\medskip ({number}) {_text(note)}" for number, note in enumerate(sheet.notes, start=1)),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


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
