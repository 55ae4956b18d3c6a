"""One verb a file: its help, its options and `main`.

A verb's module imports nothing heavy until its `main` runs, so that help and refusals are quick. It has

SUMMARY         one line for `safari-bench --help`
DESCRIPTION     what `safari-bench VERB --help` says before the options
EXAMPLE         one command line
add(parser)     adds its arguments
main(args)      does it; returns the exit code
"""

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from safari_bench.cli.words import Parser
from safari_bench.errors import ConfigError

__all__ = ["ALIASES", "VERBS", "call", "module", "parser"]

#: in the order of the help page; the first one runs where no verb is given
VERBS = (
    "run",
    "restore",
    "table",
    "ablate",
    "tune",
    "score",
    "plan",
    "check",
    "doctor",
    "weights",
    "manifest",
    "exact",
)
ALIASES = {"study": "ablate"}
#: verbs of earlier versions -> the module of a checkout that does it now
_MOVED = {"train": "recipes.train_prior", "fit": "recipes.fit", "card": "recipes.card"}


def module(verb: str) -> ModuleType:
    """The file of a verb."""
    return import_module(f"safari_bench.cli.verbs.{verb}")


def parser(verb: str) -> Parser:
    """The argument parser of a verb, from what its file says."""
    of = module(verb)
    text = f"{of.DESCRIPTION.strip()}\n\nExample: {of.EXAMPLE}"
    made = Parser(prog=f"safari-bench {verb}", description=text)
    of.add(made)
    return made


def call(words: Sequence[str]) -> int:
    """Run the verb that words begin with. Returns the exit code.

    Raises:
        ConfigError: no such verb, or its words are not as it takes them.
    """
    named = bool(words) and "=" not in words[0] and not words[0].startswith(("-", "~"))
    verb = ALIASES.get(words[0], words[0]) if named else VERBS[0]
    if verb in _MOVED:
        raise ConfigError(
            f"safari-bench {verb} has left the package; in a checkout of the repository say python -m {_MOVED[verb]}"
        )
    if verb not in VERBS:
        known = (*VERBS, *ALIASES)
        close = difflib.get_close_matches(verb, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"no such verb: {verb}{hint}\nverbs: {', '.join(known)}; see safari-bench --help")
    arguments = parser(verb).parse_intermixed_args(list(words[1:] if named else words))
    if named and words[0] in ALIASES:
        print(f"safari-bench {words[0]} is now called {verb}; the old name goes in the next release", file=sys.stderr)
    return int(module(verb).main(arguments))
