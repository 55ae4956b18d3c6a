"""Writes docs/cli.md, the command's own help as one page: `python docs/write_cli.py`."""

import os
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")
_HEAD = """\
---
hide: [navigation]
---

# Command line

<!-- Written by docs/write_cli.py from the command's help. `make docs` writes it again. -->
"""


def render() -> str:
    """The page. Its lines do not depend on the terminal."""
    os.environ.update(COLUMNS="100", NO_COLOR="1")
    from safari_bench.cli.help import page
    from safari_bench.cli.verbs import VERBS, parser

    texts = {"safari-bench": page(), **{verb: parser(verb).format_help() for verb in VERBS}}
    return "\n".join([_HEAD, *(f"## {name}\n\n```text\n{text.strip()}\n```\n" for name, text in texts.items())])


if __name__ == "__main__":
    PAGE.write_text(render())
