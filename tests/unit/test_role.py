"""The Ansible role and the container file fit the checkout; `make test-role` runs the role."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[2] / "deploy"
ANSIBLE = DEPLOY / "ansible"
ROLE = ANSIBLE / "roles" / "asynchy"


def loaded(name: str) -> Any:
    return YAML(typ="safe").load((ROLE / name).read_text(encoding="utf-8"))


def test_each_variable_has_a_specification_a_row_in_the_readme_and_a_use() -> None:
    options = loaded("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    rows = re.findall(
        r"^\| `(asynchy_\w+)` \| (\w+)", (ANSIBLE / "README.md").read_text(), re.MULTILINE
    )
    rows += re.findall(
        r"^\| `(asynchy_\w+)` \| (`)", (ANSIBLE / "README.md").read_text(), re.MULTILINE
    )
    defaults = loaded("defaults/main.yml")
    required = {name for name, option in options.items() if option.get("required")}
    assert {name for name, _ in rows} == set(options) == set(defaults) | required
    assert {name for name, default in rows if default == "required"} == required
    tasks = "".join(path.read_text() for path in (ROLE / "tasks").glob("*.yml"))
    assert [name for name in options if name not in tasks] == []


def test_the_role_finds_units_and_pins_of_this_checkout() -> None:
    defaults = loaded("defaults/main.yml")
    for name in ("asynchy_requirements", "asynchy_units"):
        path = Path(defaults[name].replace("{{ role_path }}", str(ROLE)))
        assert path.exists(), path
    units = Path(defaults["asynchy_units"].replace("{{ role_path }}", str(ROLE)))
    assert all((units / timer).is_file() for timer in defaults["asynchy_timers"])


def test_the_role_leaves_alone_exactly_the_timers_that_mail_if_nobody_can_be_mailed() -> None:
    (chosen,) = (
        task["ansible.builtin.set_fact"]["asynchy_idle_timers"]
        for task in loaded("tasks/units.yml")
        if "ansible.builtin.set_fact" in task
    )
    (pattern,) = re.findall(r"select\('search', '([^']+)'\)", chosen)
    timers = loaded("defaults/main.yml")["asynchy_timers"]
    for timer in timers:
        unit = (DEPLOY / timer).with_suffix(".service").read_text(encoding="utf-8")
        mails = re.search(r"^ExecStart=.*(/epnalert | --mail\b)", unit, re.MULTILINE)
        assert (re.search(pattern, timer) is None) == (mails is None), timer


def test_tasks_that_the_role_imports_are_there() -> None:
    imported = {
        task["ansible.builtin.import_tasks"]
        for task in loaded("tasks/main.yml")
        if "ansible.builtin.import_tasks" in task
    }
    assert imported | {"main.yml"} == {path.name for path in (ROLE / "tasks").glob("*.yml")}


def test_the_container_starts_what_the_unit_starts_and_its_sources_are_there() -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    (line,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    unit = (DEPLOY / "mx_sync.service").read_text(encoding="utf-8")
    assert f"ExecStart=/opt/mx_sync/bin/{' '.join(json.loads(line))}\n" in unit
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    sources = [name for names in copied for name in names.split()]
    assert len(sources) == 6
    assert all((DEPLOY.parent / name).exists() for name in sources)
