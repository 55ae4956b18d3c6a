"""The page of a restored picture: before and after under one slider, what was done, and the command to do it again."""

import base64
from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["page"]


def page(
    *,
    title: str,
    before: bytes,
    pictures: Mapping[str, bytes],
    size: tuple[int, int],
    facts: Mapping[str, str],
    scores: Mapping[str, float],
    notes: Sequence[str],
    command: str,
    spread_white: float,
) -> str:
    """One HTML file that needs no other.

    Args:
        before: PNG of the picture as it was, stretched to the size of the restored one.
        pictures: PNG of the restored picture under "", of ".mean" and ".spread" where there are.
        size: (width, height) of the restored picture, px.
        facts: what was done.
        scores: against the reference, if there was one.
        notes: what a person should know.
        spread_white: what white means in the map of the spread, levels of 255.
    """
    environment = Environment(
        loader=PackageLoader("safari_bench.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    embedded = {name: base64.b64encode(data).decode() for name, data in pictures.items()}
    return environment.get_template("restored.html.j2").render(
        title=title,
        before=base64.b64encode(before).decode(),
        pictures=embedded,
        width=size[0],
        height=size[1],
        facts=facts,
        scores=scores,
        notes=notes,
        command=command,
        spread_white=spread_white,
    )
