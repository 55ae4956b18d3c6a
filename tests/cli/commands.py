"""Command lines drawn from the real keys of conf/, with the values that people mistype and worse."""

from hypothesis import strategies as st
from omegaconf import OmegaConf

from safari_bench.cli.composing import composed
from safari_bench.cli.conf import groups, options
from safari_bench.cli.schema import register
from safari_bench.ledger import flatten

NUMBERS = [
    "0",
    "-1",
    "1",
    "2",
    "0.5",
    "1e400",
    "-1e400",
    "1e23",
    "1e-300",
    ".nan",
    "nan",
    ".inf",
    "inf",
    "-.inf",
    "007",
]
NUMBERS += ["99999999999999999999", "-0.0", "1_000", "0x10", "1e5", "3.0"]
WORDS = ["null", "true", "none", "''", '""', "a", "photos", "'a b'", "ä", "%d", "a\\,b", "\\", "...", "1:2", "@x", "*"]
SHAPES = [
    "[]",
    "{}",
    "[1]",
    "[[1]]",
    "{a:1}",
    "{a:[}",
    "}",
    "[",
    "(",
    "[null]",
    "{_target_:os.getcwd}",
    "[1,2",
    "{1:2}",
]
LINKS = ["${seed}", "${nothing}", "${", "${oc.env:NO_SUCH}", "${at_size:1,2}", "${at_size:1}", "${sampler}", "${.name}"]
LINKS += ["\\${seed}", "${now:%S}", "${oc.decode:'{'}", "${hydra:job.num}", "${task.name}"]
SWEEPS = [
    "1,2",
    "a,b",
    "nan,1",
    "choice(1)",
    "choice()",
    "range(1,3)",
    "range(3)",
    "interval(0,1)",
    "glob(*)",
    "sort(2,1)",
]
SWEEPS += ["shuffle(1,2)", "tag(a,1)", "int(x)", "1,", ",", "extend_list(1)", "null,null"]
TARGETS = ["os.getcwd", "safari_bench", "safari_bench.samplers.DPS", "safari_bench.priors.unet.load", "1", "null", "''"]
TARGETS += [
    "safari_bench.errors.ConfigError",
    "safari_bench.data.Photos",
    "safari_bench.operators.Denoising",
    "[]",
    "{}",
]
TARGETS += ["safari_bench.cli.main.main", "safari_bench.metrics.Psnr", "safari_bench.samplers.contract.Sampler", "a..b"]
VALUES = [*NUMBERS, *WORDS, *SHAPES, *LINKS, *SWEEPS]


ODD = [
    "~sampler",
    "~prior._target_",
    "~dataset",
    "~guidance.pixel",
    "~seed",
    "~name=1",
    "logger.csv=true",
    "compute=[[1]]",
]
ODD += [
    "=",
    "=1",
    "a=",
    "+=1",
    "~",
    "sampler@x=dps",
    "+sampler@guidance=dps",
    "sampler/dps=1",
    "seed",
    "--",
    "",
    " ",
    "é=1",
]
ODD += [
    "logger=[wandb,csv]",
    "logger=[]",
    "hydra=1",
    "hydra.mode=MULTIRUN",
    "hydra/launcher=nothing",
    "hydra.run.dir=x",
]
ODD += [
    "hydra.sweeper.params=1",
    "hydra.launcher=null",
    "hydra/sweeper=optuna",
    "+hydra.callbacks.a=1",
    "hydra.verbose=[1]",
]
ODD += [
    "experiments=table1",
    "experiments=exact",
    "+a.b.c=1",
    "++_target_=os.getcwd",
    "sampler._args_=[1]",
    "+sampler._args_=[1]",
]
ODD += [
    "+sampler._partial_=true",
    "+prior._recursive_=false",
    "metrics.metrics=[]",
    "metrics.metrics=[{_target_:safari_bench.metrics.Psnr}]",
]
ODD += [
    "metrics.metrics=[1]",
    "metrics.metrics=[null]",
    "metrics.metrics=null",
    "metrics.metrics=[{}]",
    "dataset.size=[64]",
]
ODD += [
    "dataset.size=[64,-1]",
    "dataset.size=[]",
    "dataset.n=[1]",
    "prior.checkpoint=/",
    "prior.checkpoint=.",
    "settings=a/b",
]


#: keys of experiments/exact.yaml, and some that are none
STUDY = ["sigma_y", "seed", "processes", "device", "study", "max_steps", "methods", "methods.dps"]
STUDY += ["methods.dps.steps", "methods.pigdm.set", "methods.dps.tune.values", "methods.new.sampler"]
STUDY += ["gaussian", "gaussian.tasks", "gaussian.size", "gaussian.samples", "gaussian.methods"]
STUDY += ["gaussian.operators", "gaussian.sigma_y", "bound", "bound.times", "bound.gammas", "orders.steps"]
STUDY += ["orders.sigma_y", "mixture.pixels", "nonsense", "gaussian.nonsense", "studies", "studies.large"]

#: names that no run has; a manifest could be written to some of them
_RUNS = ["/", "..", ".", "", "-", "--", "/dev/null", "/proc", "="]
_FREE = ["nowhere", "x" * 300, "*", "~", "é", "a b", "\n", "%s"]
_WORDS = ["psnr", "--pack", "--check", "--prior", "--draw", "--into", "../x", "-m", "--again", "dataset=1"]
_WORDS += ["task=a", "list"]
_VERBS = ["table", "ablate", "tune", "score", "weights", "manifest", "tabel", "train", "study"]


def junk() -> list[str]:
    """Values that are seldom right."""
    return VALUES


@st.composite
def words_of_verbs(draw: st.DrawFn) -> list[str]:
    """A verb and words that it cannot take: no such run or file, no such option."""
    verb = draw(st.sampled_from(_VERBS))
    runs = _RUNS if verb == "manifest" else [*_RUNS, *_FREE]
    return [verb, draw(st.sampled_from(runs)), *draw(st.lists(st.sampled_from(_WORDS), max_size=2))]


def tree() -> dict[str, dict[str, object]]:
    """Option of a group, e.g. sampler=dps -> its keys and values, e.g. sampler.zeta: 1.0; "": those of the root."""
    register()
    found = {"": {key: value for key, value in _keys([]).items() if "." not in key}}
    for group in groups():
        for option in options(group):
            keys = _keys([f"{group}={option}"])
            found[f"{group}={option}"] = {key: value for key, value in keys.items() if key.startswith(f"{group}.")}
    return {choice: keys for choice, keys in found.items() if keys}


def _keys(words: list[str]) -> dict[str, object]:
    node = OmegaConf.to_container(composed(words), resolve=False)
    inner = {key.rpartition(".")[0]: {} for key in flatten(node) if "." in key}
    return {**inner, **flatten(node)}


@st.composite
def lines(draw: st.DrawFn, keys: dict[str, dict[str, object]]) -> list[str]:
    """The words of one command that composes a configuration: some that make sense, and one or two that may not."""
    choices = [draw(st.sampled_from(sorted(keys))) for _ in range(draw(st.integers(1, 3)))]
    words = [choice for choice in choices if choice]
    for choice in choices[: draw(st.sampled_from([1, 1, 1, 2, 3]))]:
        key = draw(st.sampled_from(sorted(keys[choice])))
        kind = draw(st.sampled_from(["like", "like", "like", "like", "any", "any", "target", "group", "odd"]))
        if kind == "odd":
            words.append(draw(st.sampled_from(ODD)))
            continue
        if kind == "group":
            key = draw(st.sampled_from([*groups(), "experiments", "tuned"]))
        values = TARGETS if kind == "target" else NUMBERS if isinstance(keys[choice].get(key), int | float) else VALUES
        if kind == "target" and not key.endswith("_target_"):
            key = f"{key}._target_"
        value = draw(st.sampled_from(VALUES if kind == "any" else values))
        words.append(f"{draw(st.sampled_from(['', '', '', '', '', '+', '++']))}{key}={value}")
    return words
