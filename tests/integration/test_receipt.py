"""Receipts: what other programs make of them, and what is never claimed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import bagit
import pytest
from rocrate.rocrate import ROCrate

from simulator.compare import compare_trees
from simulator.experiments import awkward_names, mx_experiment
from tests.conftest import Group, Home, give, wait_until
from tests.integration.test_verify import FRAME, flip, offer, only

FILES = {
    "bag-info.txt", "bagit.txt", "manifest-sha256.txt", "ro-crate-metadata.json",
    "tagmanifest-sha256.txt",
}  # fmt: skip
ODD = "names-not-utf-8.sha256"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have bagit log nothing: the names in it are no UTF-8, and pytest has to write its report."""
    monkeypatch.setattr(logging.getLogger("bagit"), "disabled", True)


def prepared(home: Home, *, awkward: bool = False, **keys: str) -> Path:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=4, frame_bytes=30_000)
    if awkward:
        awkward_names(source)
    give(source)
    home.visit("12282a")
    home.configure(**keys)
    assert home.once().returncode == 0
    return source


def receipt(home: Home, *arguments: str | Path, **options: Any) -> Any:
    command = ("asynchy", "--config", home.config, "receipt", "12282a")
    return home.program.run(*command, *arguments, **options)


def digests(folder: Path) -> dict[bytes, str]:
    """The SHA-256 of every regular file below a folder."""
    found = {}
    root = os.fsencode(folder)
    for place, _, names in os.walk(root):
        for name in names:
            path = place + b"/" + name
            if os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114
                with open(path, "rb") as stream:  # noqa: PTH123
                    data = stream.read()
                found[path.removeprefix(root + b"/")] = hashlib.sha256(data).hexdigest()
    return found


def manifest(folder: Path) -> dict[bytes, str]:
    """A manifest as RFC 8493 says it is to be read."""
    found = {}
    for line in (folder / "manifest-sha256.txt").read_bytes().removesuffix(b"\n").split(b"\n"):
        digest, name = line.split(b"  ", 1)
        name.decode()
        name = name.replace(b"%0A", b"\n").replace(b"%0D", b"\r").replace(b"%25", b"%")
        found[name.removeprefix(b"data/")] = digest.decode()
    return found


def graph(folder: Path) -> dict[str, dict[str, Any]]:
    told = json.loads((folder / "ro-crate-metadata.json").read_text())
    assert told["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    return {item["@id"]: item for item in told["@graph"]}


def test_what_was_killed_before_is_not_in_the_way(home: Home) -> None:
    prepared(home)
    offer(home, "other", sha256sum="exec /bin/sleep 60", xargs='exec /usr/bin/xargs "$@"')
    with home.program.start("asynchy", "--config", home.config, "verify") as process:
        wait_until(lambda: only(home.status("12282a"))["claim"])
        process.kill()
        process.communicate()
    run = receipt(home)
    assert run.returncode == 0, run.stdout + run.stderr


def test_beside_the_data_it_is_a_bag_and_a_crate_and_needs_no_facility(home: Home) -> None:
    source = prepared(home)
    copy = home.copy("12282a")

    home.facility.stop_sshd()
    home.facility.portal.stop()
    run = receipt(home)
    assert run.returncode == 0, run.stdout + run.stderr
    folder = copy.parent
    assert f"Receipt: {folder}" in run.stdout
    assert {path.name for path in folder.iterdir()} == FILES | {"data"}

    bag = bagit.Bag(str(folder))
    bag.validate()
    assert bag.version_info == (1, 0)
    assert bag.info["External-Identifier"] == "12282a"
    there = digests(copy)
    assert manifest(folder) == there
    assert compare_trees(source, copy) == []

    crate = ROCrate(folder)
    assert crate.version == "1.1"
    root = crate.root_dataset
    for name in ("name", "description", "datePublished", "license"):
        assert root[name], name
    assert root["name"] == "12282a on mx: Structures of things"
    assert root["identifier"] == "12282a"
    assert [person["name"] for person in root["creator"]] == ["Ada Lovelace"]
    assert root["creator"][0]["affiliation"]["name"] == "University of X"
    names = {person["name"] for person in root["contributor"]}
    assert {"Zoë Åsa Nguyễn", "José O'Brien-Müller"} <= names
    (measured,) = root["recordedAt"]
    assert measured.type == "Event"
    assert root["temporalCoverage"] == f"{measured['startDate']}/{measured['endDate']}"
    listed = {e.id: e for e in crate.get_entities() if e.type == "File" and e.id[:5] == "data/"}
    assert {e["sha256"] for e in listed.values()} == set(there.values())
    assert len(listed) == len(there)
    assert (folder / "data" / FRAME).is_file()
    frame = listed["data/" + FRAME.replace(" ", "%20")]
    assert frame["contentSize"] == str((copy / FRAME).stat().st_size)
    assert frame["additionalProperty"]["value"] == "size"
    things = {entity["name"]: entity for entity in root["mentions"]}
    assert "Attempt 1: complete" in things and "Check 1: audit" in things
    versions = {item["name"] for item in things["This receipt"]["instrument"]}
    assert versions == {"asynchy", "rsync", "ssh"}
    for entity in graph(folder).values():  # every reference leads somewhere
        for value in entity.values():
            for ref in value if isinstance(value, list) else [value]:
                if isinstance(ref, dict) and not ref["@id"].startswith("http"):
                    assert ref["@id"] in graph(folder), ref

    assert home.program.run("asynchy", "--config", home.config, "audit").returncode == 0
    again = receipt(home, "--unread")  # takes the place of the one before
    assert again.returncode == 0, again.stderr
    bagit.Bag(str(folder)).validate()


def test_every_name_is_listed_and_what_bagit_cannot_say_stands_beside(home: Home) -> None:
    prepared(home, awkward=True)
    copy = home.copy("12282a")
    run = receipt(home)
    assert run.returncode == 0, run.stderr
    assert "3 names are no UTF-8" in run.stdout, run.stdout
    there, listed = digests(copy), manifest(copy.parent)
    odd = {path for path in there if b"\xff" in path or b"\xe9" in path}
    assert listed == {path: digest for path, digest in there.items() if path not in odd}
    check = subprocess.run(
        ["sha256sum", "--check", "--strict", ODD], cwd=copy.parent, capture_output=True, check=False
    )
    assert check.returncode == 0, check.stderr
    assert check.stdout.count(b"OK\n") == len(odd)
    assert ROCrate(copy.parent).root_dataset["name"].startswith("12282a")
    number = sum(1 for identity in graph(copy.parent) if identity.startswith("data/")) - 1
    assert number == len(there)

    # bagit 1.9 reads neither `%25` nor a blank at the end of a name (its issues 157 and 143).
    with pytest.raises(bagit.BagValidationError) as refused:
        bagit.Bag(str(copy.parent)).validate()
    named = {os.fsencode(problem.path) for problem in refused.value.details}
    not_read = {path for path in there if b"%" in path or path != path.strip()} | odd
    assert {b"data/" + path for path in not_read} <= named
    assert {path.strip() for path in named} == {
        path.strip() for path in {b"data/" + path for path in not_read} | {b"data/awkward/100%25"}
    }


def test_elsewhere_it_says_where_the_data_are_and_completes_with_them(home: Home) -> None:
    prepared(home)
    out = home.place / "receipts"
    run = receipt(home, "--out", out, "--unread")
    assert run.returncode == 0, run.stderr
    assert "The data are elsewhere" in run.stdout
    assert {path.name for path in out.iterdir()} == FILES | {"fetch.txt"}
    with pytest.raises(bagit.BagValidationError):
        bagit.Bag(str(out)).validate()
    url, size, name = (out / "fetch.txt").read_text().splitlines()[0].split(" ", 2)
    assert url.startswith("file://") and url.endswith(name.removeprefix("data").replace(" ", "%20"))
    copy = home.copy("12282a")
    assert int(size) == (copy / name.removeprefix("data/")).stat().st_size
    shutil.copytree(copy, out / "data", ignore=lambda *_: [])
    bagit.Bag(str(out)).validate()
    assert not (copy.parent / "bagit.txt").exists()
    assert out.stat().st_mode & 0o007 == 0
    assert {path.stat().st_mode & 0o777 for path in out.glob("*.*t*")} == {0o660}


def test_what_does_not_verify_is_claimed_by_no_receipt(home: Home) -> None:
    prepared(home, manifest="false")
    copy = home.copy("12282a")
    unknown = receipt(home, "--unread")
    assert unknown.returncode == 1
    assert "no SHA-256 of" in unknown.stderr and "asynchy audit" in unknown.stderr
    assert receipt(home, "--out", home.place / "one").returncode == 0  # it makes them

    flip(copy / FRAME)
    refused = receipt(home, "--out", home.place / "two")
    assert refused.returncode == 1
    assert "1 files changed" in refused.stderr and "asynchy verify 12282a" in refused.stderr
    assert not (home.place / "two").exists()
    known = receipt(home, "--unread")  # the audit has told
    assert known.returncode == 1
    assert f"{FRAME} is changed" in known.stderr
    assert [path.name for path in copy.parent.iterdir()] == ["data"]
    flip(copy / FRAME)
    assert receipt(home).returncode == 0

    frame = copy / FRAME
    times = frame.stat()
    os.utime(frame, ns=(times.st_atime_ns, times.st_mtime_ns + 10**9))
    before = (copy.parent / "manifest-sha256.txt").stat().st_ino
    touched = receipt(home, "--unread")
    assert touched.returncode == 1
    assert "has another size or time" in touched.stderr
    assert (copy.parent / "manifest-sha256.txt").stat().st_ino == before
    frame.unlink()
    assert receipt(home).returncode == 1


def test_a_folder_that_is_no_place_for_it_is_refused(home: Home) -> None:
    prepared(home)
    copy = home.copy("12282a")
    inside = receipt(home, "--unread", "--out", copy / "frames")
    assert (inside.returncode, "is in the copy itself" in inside.stderr) == (1, True)
    theirs = home.place / "theirs"
    theirs.mkdir()
    (theirs / "bagit.txt").write_text("BagIt-Version: 0.97\n")
    give(theirs)
    foreign = receipt(home, "--unread", "--out", theirs)
    assert (foreign.returncode, "holds bagit.txt" in foreign.stderr) == (1, True)
    assert [path.name for path in theirs.iterdir()] == ["bagit.txt"]
    nowhere = receipt(home, "--unread", "--out", home.place / "not" / "there")
    assert (nowhere.returncode, "the one above it must be there" in nowhere.stderr) == (1, True)
    command = ("asynchy", "--config", home.config, "receipt")
    assert home.program.run(*command, "99999z").returncode == 5
    assert home.program.run(*command, "no-epn").returncode == 2
    elsewhere = receipt(home, "--unread", "--copy", home.place)
    assert (elsewhere.returncode, "there is one in" in elsewhere.stderr) == (1, True)
    copy.rename(copy.with_name("data2"))
    copy.symlink_to("data2")
    whole = receipt(home, "--unread")
    assert (whole.returncode, "mount it or put it back" in whole.stderr) == (1, True)
    assert f"its folder {copy} is a symbolic link, which is not followed" in whole.stderr


def test_a_folder_in_the_place_of_one_of_its_files_is_named_and_the_receipt_stays(
    home: Home,
) -> None:
    prepared(home)
    assert receipt(home).returncode == 0
    beside = home.copy("12282a").parent
    manifest_file = beside / "manifest-sha256.txt"
    kept = manifest_file.rename(home.place / "manifest")
    manifest_file.mkdir()
    (manifest_file / "theirs").write_text("a member's")
    give(manifest_file)
    refused = receipt(home, "--unread")
    assert refused.returncode == 1
    assert f"{manifest_file} is a folder, in the place of a file" in refused.stderr
    assert "move it away" in refused.stderr
    manifest_file.rename(home.place / "theirs")
    kept.rename(manifest_file)
    bagit.Bag(str(beside)).validate()


def test_with_receipt_true_each_transfer_ends_with_one(home: Home) -> None:
    source = prepared(home, receipt="true")
    copy = home.copy("12282a")
    bagit.Bag(str(copy.parent)).validate()
    assert "12282a: receipt of" in home.log
    (source / "frames" / "late.cbf").write_text("late")
    give(source / "frames")
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    give(home.place / "ignore.yml")
    assert home.once().returncode == 0
    bagit.Bag(str(copy.parent)).validate()
    assert b"frames/late.cbf" in manifest(copy.parent)
    audited = home.program.run("asynchy", "--config", home.config, "audit")
    assert "nothing wrong" in audited.stdout
    verified = home.program.run("asynchy", "--config", home.config, "verify")
    assert verified.returncode == 0
    bagit.Bag(str(copy.parent)).validate()
    assert "Level-of-Proof: source" in (copy.parent / "bag-info.txt").read_text()


def test_a_receipt_that_fails_is_told_and_the_copy_is_complete(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=1)
    give(source)
    home.visit("12282a")
    home.configure(receipt="true", max_tasks=1)
    theirs = home.copy("12282a").parent
    theirs.mkdir()
    (theirs / "bagit.txt").write_text("a bag of somebody's\n")
    give(theirs)
    run = home.once()
    assert run.returncode == 0, run.stderr
    assert "12282a: complete, but there is no receipt" in run.stderr
    assert "12282a" in home.ignored
    assert (theirs / "bagit.txt").read_text() == "a bag of somebody's\n"
    assert {path.name for path in theirs.iterdir()} == {"bagit.txt", "data"}


def test_a_copy_of_sync_has_its_receipt_beside_and_people_from_info(group: Group) -> None:
    group.configure(receipt="true")
    group.experiment("12282a")
    vault = group.place / "vault"
    vault.mkdir()
    give(vault)
    assert group.walk().returncode == 0
    run = group.asynchy("sync", "--dest", vault)
    assert run.returncode == 0, run.stderr
    folder = vault / "12282a.asynchy-receipt"
    assert {path.name for path in vault.iterdir()} == {"12282a", folder.name}
    assert manifest(folder) == digests(vault / "12282a")
    root = graph(folder)["./"]
    assert root["temporalCoverage"] == "2016-04-29 08:00:00/2016-04-29 16:00:00"
    assert graph(folder)[root["contributor"][0]["@id"]]["name"] == "Zoë Nguyễn"
    (group.place / "other").mkdir()
    give(group.place / "other")
    assert group.asynchy("sync", "--dest", group.place / "other").returncode == 0
    several = group.asynchy("receipt", "12282a")
    assert (several.returncode, "has 2 copies" in several.stderr) == (1, True)
    which = ("receipt", "12282a", "--copy", vault / "12282a")
    assert group.asynchy(*which).returncode == 0


def test_who_else_took_part_is_remembered_of_our_projects_alone(home: Home) -> None:
    home.visit("99999z")
    home.visit("12282a")
    assert home.mxsync().returncode != 0  # without --execute nothing is written
    assert not (home.place / "catalogue.db").exists()
    for _ in range(2):
        home.once()
        with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
            told = db.execute("SELECT epn, scientists != '[]' FROM visits ORDER BY epn").fetchall()
        assert told == [("12282a", True), ("99999z", False)]
