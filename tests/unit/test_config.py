from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.config.load import Loaded, load
from asynchy.config.model import EquipmentEntry, Settings
from asynchy.errors import ConfigError

ORIGINAL = """\
comment: our config
epn_cap_map:
  "12282": ny79
  8020: 007
  1234: no
ignore: etc/ignore.yml
equipment:
  - username: help@massive.org.au
    password: no
    client_name: us
    client_password: 12345
    id: 23
  - username: help@massive.org.au
    password: "0123"
    client_name: us
    client_password: "~"
    id: 24
base-url: https://portal.synchrotron.org.au:443
beamline: mx
epnalert-email-to: data@uni.example
epnalert-email-from: asynchy@uni.example
epnalert-email-smtp: smtp.uni.example
epnalert-template-folder: /opt/mx_sync/etc
epnalert-template-text: epn.txt
epnalert-template-html: epn.html
visit-day-range: 45
key-file: /opt/mx_sync/etc/key
host: sftp.synchrotron.org.au
destination-root-path: /projects
sync-frequency-hours: 24
max-tasks: 5
log-level: logging.DEBUG
log-files:
  sync: /var/log/mx_sync/sync.log
  epnalert: /var/log/mx_sync/epnalert.log
  email: /var/log/mx_sync/email.log
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text))
    assert caught.value.hint
    return caught.value.message


def good(folder: Path, *more: str, without: str | None = None) -> Settings:
    lines = [
        line for line in MINIMAL.splitlines() if without is None or not line.startswith(without)
    ]
    return load(write(folder, "\n".join([*lines, *more]))).settings


MINIMAL = """\
beamline: mx
ignore: ignore.yml
destination-root-path: /projects
equipment: [{id: 23, username: me, password: pw-canary, client_name: us, client_password: cp-canary}]
"""


def test_every_key_of_the_original_is_honoured(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, ORIGINAL))
    settings = loaded.settings
    assert settings.comment == "our config"
    assert settings.epn_cap_map == {"12282": "ny79", "8020": "007", "1234": "no"}
    assert settings.ignore == tmp_path / "etc" / "ignore.yml"
    first, second = settings.equipment
    assert (first.id, first.username, first.client_name) == (23, "help@massive.org.au", "us")
    assert first.password.get_secret_value() == "no"
    assert first.client_password.get_secret_value() == "12345"
    assert second.password.get_secret_value() == "0123"
    assert second.client_password.get_secret_value() == "~"
    assert settings.base_url == "https://portal.synchrotron.org.au:443"
    assert settings.epnalert_email_to == ("data@uni.example",)
    assert settings.epnalert_email_from == "asynchy@uni.example"
    assert settings.epnalert_email_smtp == "smtp.uni.example"
    assert settings.epnalert_template_folder == Path("/opt/mx_sync/etc")
    assert (settings.epnalert_template_text, settings.epnalert_template_html) == (
        "epn.txt",
        "epn.html",
    )
    assert settings.visit_day_range == 45
    assert settings.key_file == Path("/opt/mx_sync/etc/key")
    assert settings.host == "sftp.synchrotron.org.au"
    assert settings.destination_root_path == Path("/projects")
    assert (settings.sync_frequency_hours, settings.max_tasks) == (24, 5)
    assert settings.log_level == logging.DEBUG
    assert settings.log_files.sync == Path("/var/log/mx_sync/sync.log")
    assert settings.log_files.email == Path("/var/log/mx_sync/email.log")
    assert any("user is not given; help@massive.org.au" in warning for warning in loaded.warnings)


def test_the_new_keys_have_defaults(tmp_path: Path) -> None:
    settings = good(tmp_path)
    assert settings.user == "help@massive.org.au"
    assert (settings.port, settings.known_hosts, settings.key_file, settings.ca_bundle) == (
        None,
    ) * 4
    assert settings.source_path == "/data/{beamline}/{epn}"
    assert settings.destination_path == "{project}/{epn}/data"
    assert settings.catalogue_path == tmp_path / "catalogue.db"
    assert (settings.compare, settings.symlinks, settings.special_files) == ("time", False, False)
    assert settings.beamline_of(settings.equipment[0]) == "mx"


def test_an_entry_may_have_a_beamline_of_its_own(tmp_path: Path) -> None:
    text = MINIMAL.replace("{id: 23,", "{id: 30, beamline: saxs,")
    settings = load(write(tmp_path, text)).settings
    assert settings.beamline_of(settings.equipment[0]) == "saxs"


def test_all_problems_are_reported_at_once_each_with_its_place(tmp_path: Path) -> None:
    message = refused(
        tmp_path,
        "beamline: a/b\n"
        "max-tasks: many\n"
        "visit-day-rnage: 3\n"
        "epn_cap_map: {12282a: ny79, '17': ../x}\n"
        "equipment:\n"
        "  - id: 23\n"
        "    usrname: me\n"
        "    password: [canary]\n"
        "    client_name: us\n"
        "log-level: loud\n"
        "log-files: {snyc: x}\n"
        "source-path: data\n"
        "base-url: portal.synchrotron.org.au\n"
        "compare: date\n",
    )
    path = tmp_path / "config.yml"
    for line in (
        f"{path}:1: beamline: found 'a/b'; accepted is one path segment",
        f"{path}:2: max-tasks: found 'many'; accepted is a whole number",
        f"{path}:3: visit-day-rnage: unknown key; did you mean visit-day-range?",
        f"{path}:4: epn_cap_map.12282a: found '12282a'; accepted is a proposal number",
        f"{path}:4: epn_cap_map.17: found '../x'; accepted is one path segment",
        f"{path}:7: equipment[0].usrname: unknown key; did you mean username?",
        f"{path}:6: equipment[0].username: is required",
        f"{path}:8: equipment[0].password: found something else; accepted is a text, {{env: NAME}}",
        f"{path}:6: equipment[0].client_password: is required",
        f"{path}:10: log-level: found 'loud'; accepted is logging. and one of",
        f"{path}:11: log-files.snyc: unknown key; did you mean sync?",
        f"{path}:12: source-path: found 'data'; accepted is an absolute path",
        f"{path}:13: base-url: found 'portal.synchrotron.org.au'; accepted is the portal's address",
        f"{path}:14: compare: found 'date'; accepted is 'time', 'size' or 'checksum'",
        "ignore: is required",
        "destination-root-path: is required",
    ):
        assert line in message, line
    assert "canary" not in message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "a mapping of keys and values is expected"),
        ("- a\n- b\n", "a mapping of keys and values is expected"),
        ("beamline: mx\n  host: x\n", ":2: not YAML"),
        ("beamline: [mx\n", "not YAML"),
        ("a: &x {b: *x}\n", "an alias holds itself"),
        ("beamline: mx\nbeamline: saxs\n", ":2: beamline: stands here twice"),
        ("? [a]\n: b\n", "a key must be plain text"),
        ("a: &x 1\n<<: *x\n", "`<<` takes a mapping"),
    ],
)
def test_what_is_no_config(tmp_path: Path, text: str, word: str) -> None:
    assert word in refused(tmp_path, text)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "nope.yml")
    (tmp_path / "binary").write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 3"):
        load(tmp_path / "binary")


def test_anchors_and_merge_keys_are_followed(tmp_path: Path) -> None:
    text = (
        "beamline: mx\nignore: i\ndestination-root-path: /p\nequipment:\n"
        "  - &who {id: 23, username: me, password: p, client_name: us, client_password: c}\n"
        "  - {<<: *who, id: 24}\n"
    )
    first, second = load(write(tmp_path, text)).settings.equipment
    assert (second.id, second.username, second.password) == (24, "me", first.password)


def test_secrets_from_the_environment_and_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_PASSWORD", "from the environment")
    (tmp_path / "secret").write_text("from a file\n")
    text = MINIMAL.replace("pw-canary", "{env: PORTAL_PASSWORD}").replace(
        "cp-canary", "{file: secret}"
    )
    entry = load(write(tmp_path, text)).settings.equipment[0]
    assert entry.password.get_secret_value() == "from the environment"
    assert entry.client_password.get_secret_value() == "from a file"


@pytest.mark.parametrize(
    ("secret", "word"),
    [
        ("{env: NOT_SET_ANYWHERE}", "the environment variable NOT_SET_ANYWHERE to be set"),
        ("{file: not-there}", "not-there: No such file"),
        ("{file: empty}", "is empty"),
        ("{vault: x-canary}", "a text, {env: NAME} or {file: PATH}"),
        ("[x-canary]", "a text, {env: NAME} or {file: PATH}"),
        ('""', "a text, {env: NAME} or {file: PATH}"),
    ],
)
def test_a_secret_that_is_not_there(tmp_path: Path, secret: str, word: str) -> None:
    (tmp_path / "empty").write_text("\n")
    message = refused(tmp_path, MINIMAL.replace("pw-canary", secret))
    assert word in message
    assert "canary" not in message


def test_secrets_are_in_no_representation(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, MINIMAL))
    assert "canary" not in repr(loaded) + str(loaded.settings) + loaded.settings.model_dump_json()


def test_a_secret_under_a_wrong_key_is_not_told(tmp_path: Path) -> None:
    message = refused(tmp_path, MINIMAL.replace("password: pw-canary", "pasword: pw-canary", 1))
    assert "did you mean password?" in message
    assert "canary" not in message


def test_secrets_that_everybody_can_read_draw_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    assert not any("everybody can read" in warning for warning in load(path).warnings)
    path.chmod(0o644)
    assert any("everybody can read it" in warning for warning in load(path).warnings)


@pytest.mark.parametrize(
    "template",
    ["data/{epn}", "/data", "/data/{beamline}", "/data/../{epn}", "/data/{epn}/{x}", "/data/{epn.__class__}",
     "/data/{epn!r}", "/data/{0}/{epn}", "/data/{epn}/{", "/da ta/{epn}", "/data/$(x)/{epn}"],
)  # fmt: skip
def test_a_source_path_that_would_not_do(tmp_path: Path, template: str) -> None:
    assert "source-path: found" in refused(tmp_path, f'{MINIMAL}source-path: "{template}"\n')


@pytest.mark.parametrize(
    "template",
    ["{epn}/{project}", "/{project}/{epn}", "{project}/data", "{project}/../{epn}", "{project}//{epn}",
     "{project}/./{epn}", "{project}/{epn}/{host}", "{project}/{epn:>9}"],
)  # fmt: skip
def test_a_destination_path_that_would_not_do(tmp_path: Path, template: str) -> None:
    assert "destination-path: found" in refused(
        tmp_path, f'{MINIMAL}destination-path: "{template}"\n'
    )


def test_templates_are_tidied(tmp_path: Path) -> None:
    settings = good(
        tmp_path,
        'source-path: "/data//{beamline}/{epn}/"',
        'destination-path: "{project}/{beamline}/{epn}/"',
    )
    assert settings.source_path == "/data/{beamline}/{epn}"
    assert settings.destination_path == "{project}/{beamline}/{epn}"


KEYS = sorted(field.alias or name for name, field in Settings.model_fields.items())
values = st.recursive(
    st.none() | st.text(max_size=20) | st.integers().map(str),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=12), values, max_size=8))
def test_any_values_are_settings_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, object]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        found = load(write(folder, json.dumps(data)))
    except ConfigError as error:
        assert str(folder) in error.message
    else:
        assert isinstance(found, Loaded)


@given(st.text(max_size=200))
def test_any_text_is_settings_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError):
        load(path)


def test_the_documentation_lists_every_key() -> None:
    text = (Path(__file__).parents[2] / "docs" / "config.md").read_text(encoding="utf-8")
    for model in (Settings, EquipmentEntry):
        for name, field in model.model_fields.items():
            assert f"`{field.alias or name}`" in text
