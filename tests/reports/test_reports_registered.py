"""The place of samplers in tables and their published names are those of their files."""

from pathlib import Path

import yaml

from safari_bench.reports import registered

FILES = sorted((Path(__file__).parents[2] / "conf" / "sampler").glob("*.yaml"))


def test_the_order_is_that_of_the_tables_so_far():
    first = "degraded tv biharmonic wiener unconditional safari dps ilvr mcg ddrm ddnm pigdm mmps diffpir pnp_admm"
    assert registered.order() == (*first.split(), "reddiff", "daps")


def test_a_preset_has_the_published_name_of_what_it_builds_on():
    names = {path.stem: registered.published_name(path.stem) for path in FILES}
    assert names["dps"] == names["dps_author_code"] == "DPS" and names["pnp_admm_dps_paper"] == "PnP-ADMM"
    assert names["ilvr"] == "Score-SDE (ILVR)" and names["tv"] == "ADMM-TV"
    assert names["safari"] is names["dps_restarts"] is names["mmps_mean"] is None
    assert registered.published_name("of the users own") is None


def test_a_file_says_nothing_else_about_its_sampler():
    for path in FILES:
        about = yaml.safe_load(path.read_text()).get("about", {})
        assert set(about) <= {"order", "published"}, path
