"""The page of `safari-bench --help`."""

import textwrap

from safari_bench.cli import conf, verbs

__all__ = ["page"]

_EXAMPLES = """\
safari-bench dataset=photos task=sr_x4 sampler=safari guidance=full
safari-bench restore photo.jpg task=inpaint mask=scratches.png
safari-bench -m task=sr_x4,inpaint_box sampler=dps,safari guidance.spatial=0,0.5,1
safari-bench -m experiments=table1_embedded
safari-bench table table1_embedded"""


def page() -> str:
    """At most 60 lines. What can change is read from where it stands: verbs and the files of conf/."""
    listed = [f"  {verb:<10}{verbs.module(verb).SUMMARY}" for verb in verbs.VERBS]
    chosen = [_group(name) for name in (*conf.groups(), "experiments")]
    parts = [
        "safari-bench: zero-shot image restoration with diffusion priors.",
        "Usage\n  safari-bench [VERB] [options] [key=value ...]",
        "Verbs (run, if none is given; safari-bench VERB --help says more)\n" + "\n".join(listed),
        "Examples\n" + textwrap.indent(_EXAMPLES, "  "),
        "Groups and their options (group=option)\n" + "\n".join(chosen),
        "Keys and their values: safari-bench --cfg job shows the composed configuration, with any key=value.\n"
        "Exit codes: 0 done, 1 the work failed, 2 the command cannot be run as typed, 130 interrupted.",
    ]
    return "\n\n".join(parts)


def _group(name: str) -> str:
    indent = " " * 14
    return textwrap.fill(
        f"  {name:<12}{', '.join(conf.options(name))}",
        width=118,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
