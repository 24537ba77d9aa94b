"""A newer asynchy begins on the catalogue of an older one, with whatever command comes first."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from asynchy.catalogue.schema import REVISION
from tests.conftest import Home, give
from tests.integration.test_obligations import measured
from tests.unit.test_upgrades import Old


def schema(home: Home) -> str:
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        return str(db.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.mark.parametrize("revision", ["0010", "0017"])
def test_on_a_catalogue_of_an_older_version_the_plan_only_reads_and_one_cycle_upgrades(
    home: Home, revision: str
) -> None:
    old = Old(home.place / "catalogue.db", revision)
    give(old.path)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    give(home.place / "ignore.yml")
    measured(home, "12282a")
    home.visit("12282a")
    before = old.path.read_bytes()
    plan = home.program.run("mxsync", "--config", home.config)
    assert (plan.returncode, "12282a" in plan.stdout) == (0, True), plan.stderr
    assert old.path.read_bytes() == before
    status = home.program.run("asynchy", "--config", home.config, "status")
    assert status.returncode == 5
    assert f"is of an older version of asynchy (schema {revision}" in status.stderr
    once = home.once()
    assert once.returncode == 0, once.stdout + once.stderr
    assert schema(home) == REVISION
