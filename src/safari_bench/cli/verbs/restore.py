"""safari-bench restore: your own damaged picture."""

from argparse import ArgumentParser, Namespace

from safari_bench.cli.words import add_own

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "restore your own damaged picture: holes, scratches, blur, noise, JPEG, low resolution"
DESCRIPTION = """
Restore your own pictures, of any size. Name the damage with task=:

  inpaint mask=FILE        scratches or holes; white pixels of the mask are missing
  sr_x4                    four times the width and height
  deblur kernel=FILE       blur by a kernel that you have; deblur_gaussian task.operator.std=2 by a Gaussian
  denoising                noise
  jpeg                     JPEG artefacts, by the quality that the file says, or task.quality=20
  colorization             grey pictures

Keys of this verb:

  mask=FILE, kernel=FILE   the damage
  sigma=auto               standard deviation of the noise on [-1, 1]; auto estimates it
  sampler=diffpir,dps      methods, one picture each
  draws=1                  of each method; from 2 on also their mean and a map of their spread
  out=FOLDER               where to write; without it, beside each picture
  overwrite=false          pictures that are there already are kept and skipped
  reference=FILE           the clean picture, to print scores
  prior.windows=auto       pictures larger than the prior's in windows of its size; off, or a number of px
  page=true                a page that compares before and after

All other keys are those of a run, such as prior=, seed=, settings=, sampler.steps=, compute.tile=.

Writes PICTURE.restored.png in the picture's own size, and PICTURE.restored.html.
"""
EXAMPLE = "safari-bench restore photo.jpg task=inpaint mask=scratches.png"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "words", nargs="+", metavar="PICTURE|key=value", help="pictures, folders, patterns in quotes, and keys"
    )
    add_own(parser)


def main(args: Namespace) -> int:
    """Restore every picture with every method."""
    from safari_bench.cli.restoring import restore_all

    return restore_all(args)
