"""Links at the facility that are an experiment's or a beamline's own folder."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from asynchy.errors import ExperimentAbsent, ListingRefused, NotAFolder
from asynchy.facility import lister
from asynchy.facility.discovery import discover, discover_in
from asynchy.facility.old_places import check_old_places
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Entry, EntryKind
from asynchy.model.relocation import OldPlace
from asynchy.ssh.session import ServerFacts, ServerSession
from simulator.compare import compare_trees
from simulator.experiments import mx_experiment
from simulator.facility import Facility
from simulator.mail import MailSink
from simulator.scratch import remove
from tests.conftest import Group, Home, give
from tests.integration.test_alert import alert, configure, text_of
from tests.integration.test_sftp_lister import remote_of
from tests.integration.test_verify import WAYS, offer, only, verify

WAYS_TO_LIST = ["sftp", "rsync"]


@pytest.fixture(params=WAYS_TO_LIST)
def session(request: pytest.FixtureRequest, facility: Facility) -> ServerSession:
    """The server, listed over SFTP, or by rsync as if it offered no SFTP."""
    return session_of(facility, offers_sftp=request.param == "sftp")


def session_of(facility: Facility, *, offers_sftp: bool) -> ServerSession:
    return ServerSession(remote_of(facility), ServerFacts(offers_sftp=offers_sftp))


def moved(source: Path) -> Path:
    """Have a folder in another place of the facility, and a link to it in its own; where it is."""
    store = source.parents[len(source.parts) - source.parts.index("data") - 1] / "store"
    store.mkdir(exist_ok=True)
    place = store / f"{source.parent.name} {source.name}"  # with a blank in it
    source.rename(place)
    source.symlink_to(place)
    give(store)
    give(source.parent)
    return place


def without_sftp(facility: Facility) -> None:
    facility.stop_sshd()
    facility.offers_sftp = False
    facility.start_sshd()


def test_links_to_folders_are_experiments_and_beamlines_with_their_target(
    facility: Facility, session: ServerSession
) -> None:
    sources = [facility.experiment(*place) for place in (("mx", "1a"), ("mx", "2b"), ("bl", "3c"))]
    (sources[1].parent / "plain").symlink_to("2b")  # in a beamline's folder that is nobody's
    first = moved(sources[0])
    beamline = moved(facility.data / "bl")
    there = discover(session, str(facility.data), Stop())
    assert [(one.experiment.beamline, one.source, one.target) for one in there.experiments] == [
        ("bl", str(sources[2]), None),
        ("mx", str(sources[0]), str(first)),
        ("mx", str(sources[1]), None),
    ]
    assert (there.unlisted, there.broken, there.other) == ({}, (), {})
    (only_one,) = discover_in(session, str(facility.data / "bl"), "bl", Stop()).experiments
    assert only_one.source == str(sources[2])
    assert beamline.is_dir()


def break_link(kind: str, path: Path) -> str:
    """Make a link that leads to no folder; its target."""
    target = {"dangling": "nowhere", "circle": path.name, "file": "/etc/hostname"}.get(kind)
    if target is None:
        closed = path.parent / "closed"
        (closed / "inside").mkdir(parents=True)
        closed.chmod(0)
        target = str(closed / "inside")
    path.symlink_to(target)
    return target


BROKEN = ["dangling", "circle", "file", "closed"]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_link_to_no_folder_is_handed_over_with_its_target(
    facility: Facility, session: ServerSession, kind: str
) -> None:
    facility.experiment("mx", "1a")
    target = break_link(kind, facility.data / "mx" / "2b")
    break_link("dangling", facility.data / "bl")
    (facility.data / "mx" / "3c").write_text("a file")
    there = discover(session, str(facility.data), Stop())
    if kind == "closed":
        (facility.data / "mx" / "closed").chmod(0o755)
    assert [one.experiment.epn.text for one in there.experiments] == ["1a"]
    of_beamline, of_epn = there.broken
    assert (of_epn.path, of_epn.target) == (str(facility.data / "mx" / "2b"), target)
    assert of_epn.experiment is not None and of_epn.experiment.epn.text == "2b"
    assert of_epn.reason.startswith(f"it is a symbolic link to {target}, which ")
    assert (of_beamline.path, of_beamline.experiment) == (str(facility.data / "bl"), None)
    assert list(there.other) == [str(facility.data / "mx" / "3c")]


def test_a_server_that_lets_a_part_be_read_hides_only_links_that_lead_out_of_it(
    facility: Facility,
) -> None:
    session = session_of(facility, offers_sftp=False)
    facility.experiment("mx", "1a")
    for number in range(5):
        (facility.data / "mx" / f"{number}b").symlink_to("1a")
    (facility.data / "mx" / "3c").symlink_to(facility.folder / "home")
    python = os.path.realpath(sys.executable)  # the server finds no program but rsync
    rrsync = f"{python} {shutil.which('rrsync')} -ro {facility.data}"
    facility.programs = {"rsync": f'SSH_ORIGINAL_COMMAND="rsync $*" exec {rrsync}'}
    facility.stop_sshd()
    facility.start_sshd()
    there = discover_in(session, "/mx", "mx", Stop())
    epns = [one.experiment.epn.text for one in there.experiments]
    assert epns == ["0b", "1a", "1b", "2b", "3b", "4b"]
    (link,) = there.broken
    assert str(link) == "/mx/3c: it is a symbolic link that may not be followed"


def listed(session: ServerSession, source: Path) -> list[Entry]:
    found: list[Entry] = []
    lister.list_experiment(session, str(source), found.append, Stop())
    return found


@pytest.mark.parametrize("kind", BROKEN)
def test_an_experiment_with_something_in_its_place_is_not_absent(
    facility: Facility, session: ServerSession, kind: str
) -> None:
    source = facility.experiment("mx", "1a").parent / "2b"
    target = break_link(kind, source)
    with pytest.raises(ListingRefused) as raised:
        listed(session, source)
    if kind == "closed":  # the folder may be there
        (source.parent / "closed").chmod(0o755)
        assert "may not be read" in str(raised.value)
    else:
        assert isinstance(raised.value, NotAFolder)
        told = f"{source}: it is a symbolic link to {target}, which "
        assert str(raised.value).startswith(told)


def test_an_experiment_below_a_link_to_nothing_is_not_absent(
    facility: Facility, session: ServerSession
) -> None:
    (facility.data / "mx").symlink_to("nowhere")
    with pytest.raises(NotAFolder) as raised:
        listed(session, facility.data / "mx" / "1a")
    assert "is a symbolic link to nowhere" in str(raised.value)
    assert str(facility.data / "mx") in str(raised.value)


def test_an_experiment_is_absent_if_nothing_is_in_its_place(
    facility: Facility, session: ServerSession
) -> None:
    moved(facility.experiment("mx", "1a").parent)  # the beamline is a link that leads to a folder
    with pytest.raises(ExperimentAbsent):
        listed(session, facility.data / "mx" / "2b")
    with pytest.raises(ExperimentAbsent):
        listed(session, facility.data / "no" / "2b")


def test_an_experiment_without_files_is_listed_as_its_folder_alone(
    facility: Facility, session: ServerSession
) -> None:
    source = facility.experiment("mx", "1a")
    (source / ".hidden").write_text("of no worth")
    entries = {entry.path: entry.kind for entry in listed(session, source)}
    assert entries == {b".": EntryKind.FOLDER, b".hidden": EntryKind.DOT_FILE}


@pytest.mark.parametrize("way", WAYS_TO_LIST)
def test_a_walk_follows_what_became_a_link_and_calls_nothing_gone(group: Group, way: str) -> None:
    sources = [
        group.experiment("12282a"),
        group.experiment("20345b"),
        group.experiment("8020l", ""),
    ]
    if way == "rsync":
        without_sftp(group.facility)
    assert group.walk().returncode == 0
    before = group.files
    for source in (sources[0], sources[2], sources[0].parent):
        moved(source)
    run = group.walk()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 experiments listed" in run.stdout
    assert "0 new, 0 changed, 0 no longer there." in run.stdout
    assert group.files == before


@pytest.mark.parametrize("way", WAYS_TO_LIST)
def test_a_walk_names_links_to_nothing_and_calls_only_gone_what_is_not_there(
    group: Group, way: str
) -> None:
    link, file, gone = (group.experiment(epn) for epn in ("12282a", "12283a", "12284a"))
    below = group.experiment("20345b", "saxs")
    stays = group.experiment("8020l", "")
    if way == "rsync":
        without_sftp(group.facility)
    assert group.walk().returncode == 0
    before = group.files
    for source in (link, file, gone, below.parent):
        remove(source)
    link.symlink_to("nowhere")
    file.write_text("no folder")
    below.parent.symlink_to("/etc/hostname")
    run = group.walk()
    assert run.returncode == 1, run.stdout + run.stderr
    assert "1 experiment listed" in run.stdout
    assert "1 no longer there." in run.stdout
    assert f"No longer at the facility:\n  {gone} (NEVER COMPLETE AT HOME)\n" in run.stdout
    assert "3 folders could not be listed; what was known of them stays:" in run.stdout
    assert f"  {link}: it is a symbolic link to nowhere, which " in run.stdout
    assert f"  {below.parent}: it is a symbolic link to /etc/hostname, which " in run.stdout
    assert f"  {file}: it is not a folder\n" in run.stdout
    assert group.files == before
    vanished = group.rows("SELECT epn FROM experiments WHERE vanished IS NOT NULL")
    assert vanished == [("12284a",)]
    assert stays.is_dir()


def test_a_walk_for_a_list_names_the_links_of_its_epns_alone(group: Group) -> None:
    group.experiment("12282a")
    for epn in ("20345b", "77777a"):
        (group.facility.data / "mx" / epn).symlink_to("nowhere")
    (group.facility.data / "mx" / "20346b").write_text("no folder")
    (group.facility.data / "mx" / "77778a").write_text("no folder")
    (group.place / "list").write_text("12282a\n20345b\n20346b\n99999z\n")
    give(group.place)
    run = group.walk("--list", group.place / "list")
    assert run.returncode == 1, run.stdout + run.stderr
    assert "20345b: it is a symbolic link to nowhere" in run.stdout
    assert "20346b: it is not a folder" in run.stdout
    assert "7777" not in run.stdout
    assert "Asked for and not at the facility:\n  99999z\n" in run.stdout
    (group.facility.data / "saxs").symlink_to("nowhere")
    run = group.walk("--list", group.place / "list")
    assert (
        "Asked for and not at the facility, as far as its folders could be listed:\n  99999z\n"
        in run.stdout
    )


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
@pytest.mark.parametrize("what", ["experiment", "beamline"])
def test_mxsync_brings_home_what_is_a_link(home: Home, engine: str, what: str) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=3000)
    give(source)
    place = moved(source if what == "experiment" else source.parent)
    home.visit("12282a")
    home.configure(engine=engine)
    home.undisturbed(place if what == "experiment" else place / "12282a")


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_what_is_a_link_is_verified_in_each_way(home: Home, way: str) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=3000)
    give(source)
    moved(source)
    home.visit("12282a")
    offer(home, way)
    assert home.once().returncode == 0
    run = verify(home, "12282a", "--level", "source")
    assert run.returncode == 0, run.stdout + run.stderr
    copy = only(home.status("12282a"))
    (check,) = copy["checks"]
    assert (check["way"], check["different"], check["files"]) == (WAYS[way], 0, copy["files"])


def test_mxsync_keeps_an_epn_due_whose_folder_is_a_link_to_nothing(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=1, frame_bytes=10)
    give(source)
    home.visit("12282a")
    place = moved(source)
    place.rename(home.facility.data / "elsewhere")
    run = home.once()
    assert run.returncode == 1, run.stdout + run.stderr
    problem = f"{source}: it is a symbolic link to {place}, which does not exist"
    assert problem in run.stderr
    assert "what is in its place at the facility is not a folder" in run.stdout
    assert "there is no such folder at the facility" not in run.stdout + run.stderr


@pytest.mark.parametrize("as_file", [False, True])
def test_a_complete_copy_whose_folder_at_the_facility_is_none_any_more_is_named(
    home: Home, as_file: bool
) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=1, frame_bytes=10)
    give(source)
    home.visit("12282a", ended=24 * 20)
    assert home.once().returncode == 0
    source.rename(home.facility.data / "elsewhere")
    if as_file:
        source.write_text("see elsewhere")
    else:
        source.symlink_to("nowhere")
    said = "it is not a folder" if as_file else "it is a symbolic link to nowhere"
    run = home.once()
    assert run.returncode == 1, run.stdout + run.stderr
    assert said in run.stdout and ("link" in run.stdout) is not as_file
    for command in ("status", "12282a"), ("report", "at-risk"), ("report", "reconcile"):
        as_csv = ("--format", "csv") if command[0] == "report" else ()
        shown = home.program.run("asynchy", "--config", home.config, *command, *as_csv)
        assert said in shown.stdout, (command, shown.stdout)


def test_an_epn_that_is_a_link_is_mailed_with_what_its_info_says(home: Home, place: Path) -> None:
    source = home.facility.experiment("mx", "77777a")
    mx_experiment(source, "77777a", frames=1, frame_bytes=10)
    moved(source)
    (source.parent / "88888a").symlink_to("nowhere")
    give(source.parent)
    with MailSink(place / "mails") as sink:
        configure(home, sink)
        run = alert(home)
        assert run.returncode == 0, run.stderr
        (mail,) = sink.mails
    text = text_of(mail)
    assert "77777a" in text
    assert "Ada Lovelace <ada@uni.example>, says .info" in text
    assert f"{source.parent / '88888a'}: it is a symbolic link to nowhere, which" in run.stderr


def test_asynchy_sync_brings_home_what_became_a_link(group: Group) -> None:
    source = group.experiment("12282a")
    vault = group.place / "vault"
    vault.mkdir()
    give(group.place)
    assert group.walk().returncode == 0
    place = moved(source)
    run = group.asynchy("sync", "--dest", vault)
    assert run.returncode == 0, run.stdout + run.stderr
    assert compare_trees(place, vault / "12282a") == []


def test_old_and_new_paths_are_compared_by_where_they_lead(
    facility: Facility, session: ServerSession
) -> None:
    data = facility.data
    for name in ("real", "other"):
        (data / name / "mx" / "1a").mkdir(parents=True)
    (data / "link").symlink_to("real", target_is_directory=True)
    give(data)
    new = f"{data}/real/mx/1a"
    old = {f"{data}/{name}/mx/1a": new for name in ("link", "other", "none")}
    found = check_old_places(session, old, Stop())
    assert list(found.values()) == [OldPlace.SAME, OldPlace.OTHER, OldPlace.GONE]
