"""What `make demo-web` shows."""

from __future__ import annotations

from itertools import islice

from asynchy.model.epn import Epn
from simulator.demo_web import later_epns


def test_no_new_experiment_of_the_demo_has_the_name_of_another() -> None:
    names = list(islice(later_epns(), 100))
    assert len(set(names)) == 100 and all(map(Epn.parse, names))
