"""`safari-bench VERB --help`: a page for each verb, and the options it knows."""

from collections.abc import Sequence

from safari_bench.cli.schema import ConfigError

__all__ = ["PAGES", "asks_for_help", "check_options"]

_HELP = ("--help", "-h")
_KEYS = "Keys and defaults: safari-bench --help. Exit code: 0 done, 1 something failed, 2 not possible as typed."

PAGES = {
    "table": f"""\
safari-bench table RUN [RUN ...] [--all-published]

Rebuild the tables and figures of results/RUN from its rows alone, and print table1.md. Several runs become one table;
runs of other images, priors, noise units or geometry are refused, and what differs is named.

  --all-published   also list published values of other protocols, and what differs

Writes: per_image.csv, table1.csv, table1_wide.csv, table1.md, table1.tex, comparisons.csv, ranks.csv and figures.
Example: safari-bench table table1
{_KEYS}""",
    "fit": f"""\
safari-bench fit [gaussian | mixture] [FILE]

Fit a prior with a known posterior to the train photographs again; no tuning or test photograph is read. The files that
ship are this command's output.

FILE: where to write; gaussian_photos.json, or mixture_photos.safetensors.
Example: safari-bench fit mixture my_mixture.safetensors
{_KEYS}""",
    "train": f"""\
safari-bench train [key=value ...]

Train the network prior again, or another one: experiments=train_prior unless another overlay is named. It may be
interrupted at any time; the same command goes on from the last checkpoint.

Writes: results/<name>: checkpoints, the history of the loss, and prior/, a folder that prior.checkpoint takes.
Example: safari-bench train training.data.steps=2000 name=short
{_KEYS}""",
    "card": f"""\
safari-bench card [key=value ...]

Judge a prior on its own, without a sampler: one-step denoising against the Gaussian prior and non-local means, samples
and their spectrum, on the test images of both embedded datasets.

Writes: results/card_<prior>. Cost: about 15 minutes of one core for photos64.
Example: safari-bench card prior.checkpoint=results/train_prior/prior
{_KEYS}""",
    "tune": f"""\
safari-bench tune RUN [METRIC [KEY ...]] [--into NAME]

Choose, for every method and task of a sweep over tuning images, the settings with the best mean METRIC, and write them
where a run looks for them. Test images are refused; a best value at the edge of its grid is named.

  METRIC        the objective that the sweep was run with, unless another is named
  KEY           a key of samplers to write although it is at its default; what differs from it is written anyway
  --into NAME   a folder of conf/tuned instead of the prior's, for runs with tuned='NAME/${{task}}/${{sampler}}'

Writes: conf/tuned/<prior>/<task>/<sampler>.yaml, and a CSV of all that was tried beside it.
Example: safari-bench tune results/tuning haarpsi steps
A search by Optuna instead of a grid: make tune TASK=... SAMPLER=... [INTO=NAME] [SEARCH=...], spaces in conf/search
{_KEYS}""",
    "ablate": f"""\
safari-bench ablate RUN [RUN ...]

What a sweep over guidance.* or over methods says: gain of each part, main effects and interactions, curves, and
signatures of failure. Needs a finished run; restores no image. metrics=signatures gives all scores. Alias: study.

Writes: ablation.md, verdicts.csv, further CSV files and figures into each run folder.
Example: safari-bench ablate ablation_factorial
{_KEYS}""",
    "score": f"""\
safari-bench score RUN [key=value ...]

Score the saved pictures of a run again, with the metrics asked for; nothing is restored. The tables are rebuilt.

Example: safari-bench score table1 metrics=perceptual metrics.weights_dir=DIR
{_KEYS}""",
    "weights": f"""\
safari-bench weights [list | check | fetch] [metrics.weights_dir=DIR]

The files that LPIPS, FID and KID need: where each is looked for, whether its sha256 is right. check ends with 1 unless
all are; fetch downloads what is absent.

Example: safari-bench weights fetch metrics.weights_dir=weights
{_KEYS}""",
    "manifest": f"""\
safari-bench manifest [--check] FILE [key=value ...]

Write down which images dataset=... is made of: ids, sha256 of the pixels, recipe of preprocessing.

  --check   compare the dataset with FILE instead, name every difference, and end with 1 if there is one

Example: safari-bench manifest ffhq.csv dataset=ffhq dataset.root=DIR
{_KEYS}""",
    "plan": f"""\
safari-bench plan [-m] [--again] [key=value ...]

What a run or sweep will cost, before anything starts: calls of the network, hours, memory, disk, from timing one call
here. A forecast is made once and kept; when the run exists, the same command puts what it did cost beside it.

  --again   make the forecast anew, as for another machine

Writes: plan.csv, timings.csv and timings.md in results/<name>.
Example: safari-bench plan experiments=table1
{_KEYS}""",
    "doctor": f"""\
safari-bench doctor [key=value ...]

One page: what is installed, which weights, checkpoints and datasets are found, how fast one call is, which experiments
can be run. A dataset is found when all the pictures that are asked for are there. Writes nothing.

Example: safari-bench doctor dataset=ffhq dataset.root=DIR
{_KEYS}""",
    "exact": """\
safari-bench exact [key=value ...]

Score every sampler against posteriors that are known exactly, as experiments/exact.yaml says; what is computed is kept,
and the same command does the rest.

Writes: exact.md, verdicts.csv, a CSV file per table and a plot per task in results/exact.
Example: safari-bench exact max_steps=30 name=exact_short
Keys: experiments/exact.yaml. Exit code: 0 done, 1 something failed, 2 not possible as typed.""",
}
PAGES["study"] = PAGES["ablate"]  # its former name

#: the options of verbs whose words do not go on to Hydra, which knows its own
_OPTIONS: dict[str, tuple[str, ...]] = {
    "table": ("--all-published",),
    "fit": (),
    "tune": ("--into",),
    "ablate": (),
    "study": (),
    "weights": (),
    "plan": ("-m", "--multirun", "--again"),
    "doctor": (),
    "exact": (),
}


def asks_for_help(words: Sequence[str]) -> bool:
    """Whether a verb's words ask for its page."""
    return any(word in _HELP for word in words)


def check_options(verb: str, words: Sequence[str]) -> None:
    """Refuse an option that a verb does not have, before it is taken for a folder or a file.

    Raises:
        ConfigError: naming the options there are.
    """
    if verb not in _OPTIONS:
        return
    known = (*_OPTIONS[verb], _HELP[0])
    for word in words:
        if word.startswith("-") and word not in known:
            raise ConfigError(f"safari-bench {verb}: no such option: {word}; options: {', '.join(known)}")
