"""What the two tables at paper scale sweep over, and the comment on top of an overlay."""

from safari_bench.cli.schema import root

SAMPLERS = ["unconditional", "safari", "dps", "ilvr", "mcg", "ddrm", "ddnm", "pigdm", "mmps"]
SAMPLERS += ["diffpir", "pnp_admm", "reddiff", "daps"]
TASKS = ["sr_x4", "inpaint_box", "inpaint_random_92", "deblur_gaussian", "deblur_motion"]
DIFFPIR_TASKS = ["sr_x4", "deblur_gaussian", "deblur_motion"]


def header_of(overlay: str) -> str:
    """The comment of an overlay as one line."""
    lines = (root() / "experiments" / f"{overlay}.yaml").read_text().splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
