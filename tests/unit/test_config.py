from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from asynchy.config.loader import Loaded, load, load_shared
from asynchy.config.schema import EquipmentEntry, Settings
from asynchy.errors import ConfigError
from asynchy.model.file_times import tolerate, tolerated

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
    assert settings.long_visit_days == 7
    assert settings.beamline_of(settings.equipment[0]) == "mx"


AS_YAML = """host: sftp.example
port: 2222
user: me@uni.example
keypath: ~/.ssh/as
db: ./files.db
known-hosts: hosts
"""
WALKER = """epns_path: sheets
hostname: sftp.example
user: me
key_path: key
"""


def test_the_layout_of_as_yaml(tmp_path: Path) -> None:
    (tmp_path / "files.db").write_text("of the original")
    settings = load_shared(write(tmp_path, AS_YAML)).settings
    assert not isinstance(settings, Settings)
    assert (settings.host, settings.port, settings.user) == ("sftp.example", 2222, "me@uni.example")
    assert settings.key_file == Path("~/.ssh/as").expanduser()
    assert settings.catalogue_path == tmp_path / "files.db"
    assert settings.known_hosts == tmp_path / "hosts"


@pytest.fixture
def started_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a command is started; not that of the config."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_relative_db_is_looked_for_where_the_original_opened_it(
    tmp_path: Path, started_in: Path
) -> None:
    (started_in / "files.db").write_text("of the original")
    loaded = load_shared(write(tmp_path, AS_YAML))
    assert loaded.settings.catalogue_path == started_in / "files.db"
    assert not [warning for warning in loaded.warnings if "db:" in warning]


def test_of_two_databases_that_of_the_working_folder_is_used_with_a_warning(
    tmp_path: Path, started_in: Path
) -> None:
    for folder in (started_in, tmp_path):
        (folder / "files.db").write_text("of the original")
    loaded = load_shared(write(tmp_path, AS_YAML))
    assert loaded.settings.catalogue_path == started_in / "files.db"
    expected = (
        f"db: {started_in}/files.db, in the working folder, is used, and not {tmp_path}/files.db"
    )
    assert [warning for warning in loaded.warnings if expected in warning]


@pytest.mark.parametrize("is_empty", [True, False])
def test_an_empty_or_missing_relative_db_is_a_problem_and_nothing_is_made(
    tmp_path: Path, started_in: Path, is_empty: bool
) -> None:
    if is_empty:
        (started_in / "files.db").touch()
    with pytest.raises(ConfigError) as raised:
        load_shared(write(tmp_path, AS_YAML))
    looked = f"./files.db is not in {started_in}, and not in {tmp_path}; write the full path"
    assert f"config.yml:5: db: {looked}" in str(raised.value)
    assert (started_in / "files.db").exists() == is_empty
    assert not (tmp_path / "files.db").exists()


def test_an_empty_db_in_the_working_folder_does_not_hide_that_beside_the_config(
    tmp_path: Path, started_in: Path
) -> None:
    (started_in / "files.db").touch()
    (tmp_path / "files.db").write_text("of the original")
    loaded = load_shared(write(tmp_path, AS_YAML))
    assert loaded.settings.catalogue_path == tmp_path / "files.db"


def test_a_full_db_path_may_be_that_of_a_new_database(tmp_path: Path) -> None:
    text = AS_YAML.replace("./files.db", str(tmp_path / "new.db"))
    assert load_shared(write(tmp_path, text)).settings.catalogue_path == tmp_path / "new.db"


def test_the_layout_of_as_walker(tmp_path: Path) -> None:
    settings = load_shared(write(tmp_path, WALKER)).settings
    assert (settings.host, settings.user) == ("sftp.example", "me")
    assert settings.key_file == tmp_path / "key"
    assert settings.epns_path == tmp_path / "sheets"
    assert settings.catalogue_path == tmp_path / "catalogue.db"


def test_config_yml_serves_every_command(tmp_path: Path) -> None:
    settings = load_shared(write(tmp_path, ORIGINAL)).settings
    assert isinstance(settings, Settings)
    assert settings.catalogue_path == settings.ignore.parent / "catalogue.db"


def test_config_read_after_another_inherits_no_tolerance(tmp_path: Path) -> None:
    try:
        good(tmp_path, "time-tolerance: 2")
        assert tolerated() == 2
        good(tmp_path)
        assert tolerated() == 0
    finally:
        tolerate(0)


def test_a_problem_has_the_name_that_stands_in_the_file(tmp_path: Path) -> None:
    text = "hostname: a b\nkeypath: k\nkey_path: l\ndb: [1]\nkey: 1\n"
    with pytest.raises(ConfigError) as raised:
        load_shared(write(tmp_path, text))
    lines = str(raised.value).replace(f"{tmp_path}/config.yml", "").splitlines()
    assert lines[0] == ":1: hostname: found 'a b'; accepted is a host name or address"
    assert lines[1] == ":2: keypath: the same as key_path, which stands there too"
    assert lines[2].startswith(":4: db: found a list; accepted is a path")
    assert lines[3] == ":5: key: unknown key; did you mean key-file?"


def test_mxsync_says_what_as_yaml_lacks(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(write(tmp_path, AS_YAML))
    for key in ("ignore", "equipment", "beamline", "destination-root-path"):
        assert f"{key}: is required, and not there" in str(raised.value)


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
        ("beamline: mx\n  host: x\n", ":2: not YAML: a colon too many, or a line that is"),
        ("a:\n- b: 1\n  c: 2\n d: 3\n", "not indented as those above"),
        ("beamline: mx\nretention-days:\n\tmx: 90\n", ":3: not YAML: a tab, or another"),
        ("beamline: [mx\n", "a quote or bracket is not closed"),
        ('beamline: "mx\nignore: "x"\n', "a quote or bracket is not closed"),
        ('beamline: "mx\n', "a quote is not closed"),
        ("a: &x {b: *x}\n", "an alias holds itself"),
        ("beamline: mx\nbeamline: saxs\n", ":2: beamline: is there twice; remove one"),
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


def test_one_equipment_on_two_beamlines_is_refused_and_two_users_of_it_on_one_are_not(
    tmp_path: Path,
) -> None:
    text = (
        "beamline: mx\nignore: i\ndestination-root-path: /p\nequipment:\n"
        "  - &who {id: 23, username: me, password: p, client_name: us, client_password: c}\n"
        "  - {<<: *who, username: you}\n"
    )
    assert len(load(write(tmp_path, text)).settings.equipment) == 2
    with pytest.raises(ConfigError, match=r"equipment: .*one beamline for each equipment; 23 is"):
        load(write(tmp_path, text + "  - {<<: *who, beamline: imbl}\n"))


def test_of_several_merged_mappings_the_first_counts_and_the_own_keys_most(tmp_path: Path) -> None:
    text = (
        "beamline: mx\nignore: i\ndestination-root-path: /p\nequipment:\n"
        "  - &a {id: 23, username: a, password: p, client_name: us, client_password: c}\n"
        "  - &b {id: 24, username: b, password: q, client_name: them, client_password: c}\n"
        "  - {client_name: own, <<: [*b, *a], id: 25}\n"
    )
    third = load(write(tmp_path, text)).settings.equipment[2]
    assert (third.id, third.username, third.client_name) == (25, "b", "own")
    assert third.password.get_secret_value() == "q"


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
        (
            "{env: NOT_SET_ANYWHERE}",
            "password: the environment variable NOT_SET_ANYWHERE is not set",
        ),
        ("{env: LATIN_1}", "the environment variable LATIN_1 is not UTF-8"),
        ("{file: not-there}", "not-there cannot be read: No such file"),
        ("{file: empty}", "is empty"),
        ("{vault: x-canary}", "a text, {env: NAME} or {file: PATH}"),
        ("[x-canary]", "a text, {env: NAME} or {file: PATH}"),
        ('""', "a text, {env: NAME} or {file: PATH}"),
    ],
)
def test_a_secret_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str, word: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    monkeypatch.setenv("LATIN_1", os.fsdecode("canaryé".encode("latin-1")))
    message = refused(tmp_path, MINIMAL.replace("pw-canary", secret))
    assert word in message
    assert "canary" not in message


@pytest.mark.parametrize("text", ['password: "\\ud800-canary"', '"\\udcff-canary": x'])
def test_an_escape_that_is_no_character(tmp_path: Path, text: str) -> None:
    message = refused(tmp_path, MINIMAL.replace("password: pw-canary", text, 1))
    assert "an escape from \\uD800 to \\uDFFF is no character" in message
    assert "config.yml:4:" in message
    assert "canary" not in message


def test_two_escapes_of_which_json_makes_one_character(tmp_path: Path) -> None:
    text = MINIMAL.replace("pw-canary", json.dumps("pw-\N{BLACK DIAMOND SUIT}\N{GRINNING FACE}"))
    entry = load(write(tmp_path, text)).settings.equipment[0]
    assert entry.password.get_secret_value() == "pw-\N{BLACK DIAMOND SUIT}\N{GRINNING FACE}"


def test_a_mark_of_an_editor_is_no_part_of_a_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbfcanary\r\n")
    path = write(tmp_path, MINIMAL.replace("password: pw-canary", "password: {file: secret}"))
    assert load(path).settings.equipment[0].password.get_secret_value() == "canary"


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


CANARY = "s3cret-canary"


def block(*lines: str) -> str:
    entry = "\n".join(f"    {line}" for line in lines)
    return f"beamline: mx\nignore: i\ndestination-root-path: /p\nequipment:\n{entry.replace('    ', '  - ', 1)}\n"


@pytest.mark.parametrize(
    "entry",
    [
        f"password: *{CANARY}",
        f"password: !{CANARY}",
        f"password: !{CANARY}!x y",
        f"password: &{CANARY}",
        f"password: [{CANARY}]",
        f"password: [[{CANARY}]",
        f"password: {{{CANARY}: 1}}",
        f"password: {{{CANARY}: 1, {CANARY}: 2}}",
        f"password: {{env: [{CANARY}]}}",
        f"password: {{file: {{a: {CANARY}}}}}",
        f"password: {{file: a, {CANARY}: b}}",
        f'password: "{CANARY}',
        f"password: @{CANARY}",
        f"password: `{CANARY}",
        f"password: %{CANARY}",
        f"password: a: {CANARY}",
        f"password:{CANARY}",
        f"passwort: {CANARY}",
        f"client-password: {CANARY}",
        f"Password: {CANARY}",
    ],
)
def test_a_secret_is_in_no_message_however_it_was_mistyped(tmp_path: Path, entry: str) -> None:
    text = block("id: 23", "username: me", "client_name: us", entry, "client_password: p")
    assert CANARY not in refused(tmp_path, text)


@pytest.mark.parametrize(
    "equipment",
    [
        f"\n  - username:me\n    password:{CANARY}\n",
        f" password:{CANARY}\n",
        f" {{id: 23, password: {CANARY}}}\n",
        f" [[password, {CANARY}]]\n",
        f" [password, {CANARY}]\n",
        f"\n  password: {CANARY}\n",
    ],
)
def test_a_secret_is_in_no_message_whatever_equipment_is(tmp_path: Path, equipment: str) -> None:
    text = f"beamline: mx\nignore: i\ndestination-root-path: /p\nequipment:{equipment}"
    assert CANARY not in refused(tmp_path, text)


def test_a_password_in_the_portals_address_is_not_told(tmp_path: Path) -> None:
    message = refused(tmp_path, f"{MINIMAL}base-url: https://me:{CANARY}@portal.example\n")
    assert "without user name, password" in message
    assert CANARY not in message


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("id: 23", "id: x"), "equipment[0].id: found 'x'; accepted is a whole number"),
        (("username: me", "usrname: me"), "equipment[0].usrname: unknown key; did you mean username?"),
        (("password: pw-canary", "password: []"), "equipment[0].password: found something else; accepted is a text, {env: NAME} or {file: PATH}"),
    ],
)  # fmt: skip
def test_a_problem_in_an_entry_is_the_only_one_that_is_reported(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    lines = refused(tmp_path, MINIMAL.replace(*change, 1)).splitlines()
    about_others = [line for line in lines if "equipment[0]" not in line]
    assert (f"{tmp_path}/config.yml:4: {problem}" in lines, about_others) == (True, [])


def test_no_equipment_is_a_problem(tmp_path: Path) -> None:
    text = "\n".join([*MINIMAL.splitlines()[:3], "equipment: []"])
    assert refused(tmp_path, text).endswith(
        ":4: equipment: found a list; accepted is at least one entry"
    )


@pytest.mark.parametrize(
    "text",
    [
        f"{MINIMAL}key-file: ~no-such-user/key\n",
        f'{MINIMAL}"[key]": x\n',
        f'{MINIMAL}log-files: {{"[key]": x}}\n',
        f"{MINIMAL}comment: {'[' * 500}{']' * 500}\n",
        "? " * 1200,
    ],
    ids=["home", "key", "key-within", "deep", "deep-keys"],
)
def test_the_oddest_files_are_config_errors_too(tmp_path: Path, text: str) -> None:
    assert str(tmp_path / "config.yml") in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("epn-cap-map", "epn_cap_map"),
        ("max_tasks", "max-tasks"),
        ("epnalert_email_to", "epnalert-email-to"),
        ("Beamline", "beamline"),
        ("hosts", "host"),
        ("known_host", "known-hosts"),
        ("visit-day-rang", "visit-day-range"),
        ("logfiles", "log-files"),
    ],
)
def test_the_nearest_key_is_named(tmp_path: Path, wrong: str, right: str) -> None:
    message = refused(tmp_path, f"{MINIMAL}{wrong}: 1\n")
    assert message == f"{tmp_path}/config.yml:5: {wrong}: unknown key; did you mean {right}?"


def test_a_key_like_no_other_lists_the_known_ones(tmp_path: Path) -> None:
    message = refused(tmp_path, f"{MINIMAL}log-files: {{zzzzz: x}}\n")
    assert message.endswith("log-files.zzzzz: unknown key; known are sync, epnalert, email")


@pytest.mark.parametrize(
    ("text", "line", "place"),
    [
        (MINIMAL.replace("id: 23,", "id: 23, id: 24,"), 4, "equipment[0].id"),
        (f"{MINIMAL}epn_cap_map:\n  1: a\n  2: b\n  '1': c\n", 8, "epn_cap_map.1"),
        (f"{MINIMAL}log-files:\n  sync: a\n  sync: a\n", 7, "log-files.sync"),
        (f"{MINIMAL}host: a\nhost: b\nhost: c\n", 7, "host"),
    ],
)
def test_keys_that_stand_there_twice(tmp_path: Path, text: str, line: int, place: str) -> None:
    lines = refused(tmp_path, text).splitlines()
    assert f"{tmp_path}/config.yml:{line}: {place}: is there twice; remove one" in lines


def test_problems_come_in_the_order_of_their_lines(tmp_path: Path) -> None:
    message = refused(tmp_path, f"port: x\nhost: -o\ntimeout: 0\nport: 1\n{MINIMAL}beemline: 2\n")
    numbers = [int(line.split(":")[1]) for line in message.splitlines()]
    assert numbers == [2, 3, 4, 9]


def test_a_problem_beside_a_merged_mapping_has_its_own_line(tmp_path: Path) -> None:
    who = "&who {id: 23, username: me, password: p, client_name: us, client_password: c}"
    text = f"beamline: mx\nignore: i\ndestination-root-path: /p\nequipment:\n  - {who}\n  - id: x\n    <<: *who\n"
    assert f"{tmp_path}/config.yml:6: equipment[1].id: found 'x'" in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "accepted"),
    [
        ("max-tasks: 0", "a number of at least 1"),
        ("max-tasks: 65", "a number of at most 64"),
        ("max-tasks: 1.5", "a whole number"),
        ("max-tasks: [1]", "a whole number"),
        ("port: 0", "a number of at least 1"),
        ("port: 65536", "a number of at most 65535"),
        ("sync-frequency-hours: 0", "a number above 0"),
        ("sync-frequency-hours: -1", "a number above 0"),
        ("sync-frequency-hours: often", "a number"),
        ("long-visit-days: 0", "a number of at least 1"),
        ("visit-day-range: 0", "a number of at least 1"),
        ("timeout: 0", "a number of at least 1"),
        ("symlinks: maybe", "true or false"),
        ("log-level: logging.LOUD", "logging. and one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("log-level: getLogger", "logging. and one of"),
        ("host: -oProxyCommand=x", "a host name or address"),
        ("host: a b", "a host name or address"),
        ("user: -l", "a user name at the SFTP service"),
        ("user: a b", "a user name at the SFTP service"),
        ("beamline: ..", "one path segment"),
        ("epn_cap_map: [a]", "a mapping"),
        ("epn_cap_map: {1: a/b}", "one path segment"),
        ("epn_cap_map: {1: ..}", "one path segment"),
        ("epn_cap_map: {1: -x}", "one path segment"),
        ("epn_cap_map: {1: [a]}", "one path segment"),
        ("epn_cap_map: {1a: a}", "a proposal number"),
        ("log-files: x", "a mapping"),
        ("ca-bundle: [x]", "a path; a relative one counts from"),
        ("base-url: ftp://portal", "the portal's address"),
        ("base-url: https://portal:x", "the portal's address"),
        ("base-url: https://portal?a=b", "the portal's address"),
        ("epnalert-email-to: nobody", "one mail address, or several"),
        ("epnalert-email-to: []", "one mail address, or several"),
        ("epnalert-email-to: [a@b, {c: d}]", "one mail address, or several"),
        ("source-path: '/data/{{a,b}}/{epn}'", "an absolute path at the facility"),
    ],
)
def test_what_is_accepted_is_said(tmp_path: Path, line: str, accepted: str) -> None:
    key = line.partition(":")[0]
    text = "\n".join(x for x in MINIMAL.splitlines() if not x.startswith(f"{key}:"))
    found = refused(tmp_path, f"{text}\n{line}\n").splitlines()
    assert len(found) == 1
    assert f": {key}" in found[0] and f"; accepted is {accepted}" in found[0]


@pytest.mark.parametrize("prefix", ["", "logging."])
@pytest.mark.parametrize("name", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
def test_the_levels_of_the_log(tmp_path: Path, prefix: str, name: str) -> None:
    assert good(tmp_path, f"log-level: {prefix}{name}").log_level == getattr(logging, name)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("epnalert-email-to: a@b", ("a@b",)),
        ("epnalert-email-to: 'a@b, c@d'", ("a@b", "c@d")),
        ("epnalert-email-to: [a@b, c@d]", ("a@b", "c@d")),
    ],
)
def test_one_address_or_several(tmp_path: Path, line: str, found: tuple[str, ...]) -> None:
    assert good(tmp_path, line).epnalert_email_to == found


def test_relative_paths_count_from_the_file_wherever_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "etc" / "secret").write_text("hidden")
    write(tmp_path / "etc", MINIMAL.replace("pw-canary", "{file: secret}") + "key-file: ~/key\n")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.chdir(tmp_path / "else")
    loaded = load(Path("../etc/config.yml"))
    settings = loaded.settings
    assert settings.ignore.resolve() == tmp_path / "etc" / "ignore.yml"
    assert settings.catalogue_path.resolve() == tmp_path / "etc" / "catalogue.db"
    assert settings.key_file == tmp_path / "me" / "key"
    assert settings.equipment[0].password.get_secret_value() == "hidden"


@pytest.mark.parametrize("start", ["\ufeff", "---\n", "%YAML 1.1\n---\n", "# ours\n\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_from_other_editors(tmp_path: Path, start: str, end: str) -> None:
    text = f"{start}{MINIMAL}epn_cap_map: {{1: no, 2: 0o7, 3: 1_0, 4: ''}}\n".replace(", 4: ''", "")
    path = tmp_path / "config.yml"
    path.write_bytes(text.replace("\n", end).encode())
    assert load(path).settings.epn_cap_map == {"1": "no", "2": "0o7", "3": "1_0"}


def warned(folder: Path, text: str, mode: int = 0o600) -> list[str]:
    path = write(folder, f"{text}user: me\n")
    path.chmod(mode)
    return [warning.replace(f"{folder}/", "") for warning in load(path).warnings]


def test_a_good_file_draws_no_warning(tmp_path: Path) -> None:
    assert warned(tmp_path, MINIMAL, 0o640) == []


def test_a_file_of_secrets_that_everybody_can_read_draws_a_warning_the_config_does_not(
    tmp_path: Path,
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("x")
    (tmp_path / "one").chmod(0o604)
    (tmp_path / "two").chmod(0o640)
    text = MINIMAL.replace("pw-canary", "{file: one}").replace("cp-canary", "{file: two}")
    (warning,) = warned(tmp_path, text, 0o644)
    assert warning == "one holds secrets and everybody can read it; chmod o-rwx one"


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("base-url: http://portal.example\n", "base-url is http"),
        ("known-hosts: nope\n", "known-hosts: there is no file nope"),
    ],
)
def test_what_else_draws_a_warning(tmp_path: Path, line: str, warning: str) -> None:
    (found,) = warned(tmp_path, MINIMAL + line)
    assert warning in found


def test_http_to_this_machine_draws_none(tmp_path: Path) -> None:
    assert warned(tmp_path, f"{MINIMAL}base-url: http://127.0.0.1:8080\n") == []


def test_a_key_without_a_value_is_not_given(tmp_path: Path) -> None:
    path = write(tmp_path, f"{MINIMAL}user:\nlog-files:\nport: ~\nepn_cap_map:\n")
    loaded = load(path)
    assert (loaded.settings.user, loaded.settings.port) == ("help@massive.org.au", None)
    assert any("user is not given" in warning for warning in loaded.warnings)


WHOLE = {
    "beamline": "mx",
    "ignore": "i",
    "destination-root-path": "/p",
    "equipment": [
        {"id": "23", "username": "me", "password": CANARY, "client_name": "us", "client_password": CANARY}
    ],
}  # fmt: skip
odd = values | st.text("~{}[].:/@*&!%# \n'\"\\0a", max_size=8) | st.just({"env": "HOME"})


@hypothesis_settings(max_examples=60)
@given(st.sampled_from(KEYS), odd)
def test_any_value_of_any_key_is_settings_or_a_config_error_without_a_secret(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        found = load(write(folder, json.dumps({**WHOLE, key: value})))
    except ConfigError as error:
        assert f"{folder}/config.yml:1: {key}" in error.message
        assert CANARY not in error.message + str(error.hint)
    else:
        assert CANARY not in repr(found)


ENTRY = sorted(field.alias or name for name, field in EquipmentEntry.model_fields.items())


@hypothesis_settings(max_examples=60)
@given(st.sampled_from(ENTRY), odd)
def test_any_value_of_any_key_of_an_entry_likewise(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    folder = tmp_path_factory.getbasetemp()
    entry = {**WHOLE["equipment"][0], key: value}  # type: ignore[dict-item]
    try:
        found = load(write(folder, json.dumps({**WHOLE, "equipment": [entry]})))
    except ConfigError as error:
        assert f"{folder}/config.yml:1: equipment[0].{key}" in error.message
        assert CANARY not in error.message
    else:
        assert isinstance(found, Loaded)


yaml_like = st.lists(
    st.sampled_from(["a", "b: ", "- ", "? ", ": ", "{", "}", "[", "]", ", ", "&x ", "*x ", "!t ", "!!map ", "<<: ",
                     "\n", "\n  ", "|\n", ">-\n", "'", '"', "# ", "---\n", "...\n", "%YAML 1.2\n", "%TAG ! x\n", "~", "\t",
                     "beamline: mx\n", "equipment:\n", "  - id: 1\n"]), max_size=16,
).map("".join)  # fmt: skip


@hypothesis_settings(max_examples=60)
@given(yaml_like)
def test_any_yaml_is_a_config_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    with pytest.raises(ConfigError):
        load(write(tmp_path_factory.getbasetemp(), text))
