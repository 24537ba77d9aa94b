"""Where a catalogue is, as the config says it; and leases, and the folders that go with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asynchy.config.loader import load_shared
from asynchy.errors import ConfigError, LeaseLost
from asynchy.localfs.lease_folder import lease_folder
from asynchy.model import lease as leases
from asynchy.model.catalogue_address import PostgresAddress
from asynchy.model.lease import Lease

URL = "postgresql://asynchy@db.example.org/asynchy"


def written(folder: Path, *lines: str) -> Path:
    path = folder / "config.yml"
    path.write_text("\n".join(["host: sftp.example.org", *lines]))
    path.chmod(0o600)
    return path


def test_a_postgresql_address_gets_its_password_from_a_file_and_never_shows_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    (tmp_path / "secret").chmod(0o600)
    path = written(tmp_path, f"catalogue: {URL}", "catalogue-password: {file: secret}")
    settings = load_shared(path).settings
    address = settings.catalogue_address
    assert isinstance(address, PostgresAddress)
    assert address.password == "s3cret"
    assert "s3cret" not in repr(settings) + repr(address) + str(address)
    assert (str(address), address.database, address.host) == (URL, "asynchy", "db.example.org")
    assert settings.catalogue_path.parent == tmp_path


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://asynchy:s3cret@db.example.org/asynchy",
        "postgresql://db.example.org/asynchy?password=s3cret",
        "postgresql://asynchy@db.example.org",
        "postgresql://asynchy@db.example.org:port/asynchy",
    ],
)
def test_an_address_with_a_password_or_without_a_database_is_refused_unseen(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_shared(written(tmp_path, f"catalogue: {url}"))
    assert "s3cret" not in error.value.message


def test_a_lease_ends_for_its_holder_before_others_may_take_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(leases, "clock", lambda: now)
    lease = Lease(1, 7, lasts=600, renewed=now)
    now += 539
    lease.require()
    now += 2
    with pytest.raises(LeaseLost):
        lease.require()
    lease.renew(now)
    lease.require()
    heard: list[int] = []
    lease.when_lost(lambda: heard.append(1))
    lease.give_up()
    assert heard == [1]
    with pytest.raises(LeaseLost):
        lease.require()


@pytest.mark.parametrize("copied", [False, True])
def test_a_later_lease_takes_the_files_and_leaves_no_folder_to_write_into(
    tmp_path: Path, copied: bool
) -> None:
    scratch = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    lease_folder(scratch, 1, "lock", copied=False)
    first = tmp_path / "lease-1"
    (first / "lock").touch()
    (first / "part").write_bytes(b"half")
    (first / "rsync" / "tree").mkdir(parents=True)
    (first / "rsync" / "tree" / "whole").write_bytes(b"all")
    late = os.open(first, os.O_RDONLY | os.O_DIRECTORY)
    late_tree = os.open(first / "rsync" / "tree", os.O_RDONLY | os.O_DIRECTORY)
    late_file = os.open(first / "part", os.O_WRONLY)
    name = lease_folder(scratch, 2, "lock", copied=copied)
    second = tmp_path / name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lease-2"]
    assert (second / "part").read_bytes() == b"half"
    assert (second / "rsync" / "tree" / "whole").read_bytes() == b"all"
    for folder, file in ((late, "part"), (late_tree, "whole")):
        with pytest.raises(FileNotFoundError):
            os.rename(file, "placed", src_dir_fd=folder, dst_dir_fd=scratch)
        with pytest.raises(FileNotFoundError):
            os.close(os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    os.pwrite(late_file, b"HALF", 0)
    assert (second / "part").read_bytes() == (b"half" if copied else b"HALF")
    with pytest.raises(OSError, match="another process has taken over"):
        lease_folder(scratch, 1, "lock", copied=False)
    for descriptor in (scratch, late, late_tree, late_file):
        os.close(descriptor)
