"""safari-bench [VERB] [key=value ...]: dispatch to a verb, and exit codes.

0 done; 1 the work failed (rows and messages say what); 2 the command cannot be run as typed; 130 interrupted.
"""

import sys
from collections.abc import Sequence

from safari_bench.cli import verbs
from safari_bench.cli.signals import ended_like_ctrl_c
from safari_bench.errors import SafariBenchError

__all__ = ["main"]

_HELP = {"-h", "--help"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with ended_like_ctrl_c():
        return _ended(words)


def _ended(words: list[str]) -> int:
    try:
        if _HELP & set(words) and (words[0].startswith(("-", "~")) or "=" in words[0]):
            from safari_bench.cli.help import page

            print(page())
            return 0
        return verbs.call(words)
    except SystemExit as end:  # argparse, after the help of a verb
        return int(end.code or 0)
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept. Run the same command again to do the rest", file=sys.stderr)
        return 130
    except SafariBenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
