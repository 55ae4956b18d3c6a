"""Writes docs/cli.md, the command line's own help as one page: `python docs/write_cli.py`."""

import io
import os
from contextlib import redirect_stdout, suppress
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")
_HEAD = """\
# Command line

<!-- Written by docs/write_cli.py from the help texts of the command. `make docs` writes it again. -->

`safari-bench` runs restoration cells. With a verb as its first word it does what the verb says.
"""


def said(*words: str) -> str:
    """What `safari-bench WORDS` prints."""
    from safari_bench.cli import main

    shown = io.StringIO()
    with redirect_stdout(shown), suppress(SystemExit):
        main(list(words))
    return "\n".join(line.rstrip() for line in shown.getvalue().strip().splitlines())


def render() -> str:
    """The page, in an order and width that do not depend on the terminal."""
    from safari_bench.cli.main import VERBS

    os.environ.update(COLUMNS="100", NO_COLOR="1")
    parts = [_HEAD, f"## safari-bench --help\n\n```text\n{said('--help')}\n```\n"]
    parts += [f"## {verb}\n\n```text\n{said(verb, '--help')}\n```\n" for verb in sorted(VERBS)]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(render())
