"""What a receipt says where little is known, or there is too much."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rocrate.rocrate import ROCrate

from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.model.verification import CopyFile, Level
from asynchy.receipts.crate import ReceiptData, described

NOW = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
COPY = Copy(Experiment("", Epn("12282a")), "", "", Path("/v"), Path("/v/12282a"))
FACTS = ReceiptData(
    copy=COPY, host="dtn", made=NOW, completed=None, files=3, bytes=7, unnamed=1, level=None,
    digests="known", left_out=None, visits=(), info=None, attempts=(), checks=(), versions={"asynchy": "1"},
)  # fmt: skip


def written(tmp_path: Path, facts: ReceiptData, files: list[CopyFile] | None) -> dict[str, Any]:
    data = described(facts, files)
    (tmp_path / "ro-crate-metadata.json").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that files are not there
        assert ROCrate(tmp_path).root_dataset["name"]
    return {item["@id"]: item for item in json.loads(data)["@graph"]}


def test_too_many_files_are_left_to_the_manifest(tmp_path: Path) -> None:
    graph = written(tmp_path, FACTS, None)
    root = graph["./"]
    assert "named in manifest-sha256.txt alone" in root["description"]
    assert "Level of proof: none (nothing was proven of some of it)" in root["description"]
    assert {part["@id"] for part in root["hasPart"]} == {
        "data/", "manifest-sha256.txt", "names-not-utf-8.sha256",
    }  # fmt: skip
    assert "Left out: not counted." in root["description"]
    assert "creator" not in root and "temporalCoverage" not in root
    assert root["name"] == "12282a"


def test_any_name_and_any_time_makes_a_crate(tmp_path: Path) -> None:
    names = [b"\xff\n", b"100%", b"a b", b"#x", b"?q", b"c:d", b"..x", b"-", "ë".encode()]
    files = [
        CopyFile(b"d/" + name, 1, seconds, Level.SOURCE, NOW, b"\1" * 32, None)
        for name, seconds in zip(names, [0, -(10**17), 10**17, -1, 1, 2, 3, 4, 5], strict=True)
    ]
    graph = written(tmp_path, replace(FACTS, files=len(files), level=Level.SOURCE), files)
    parts = graph["data/"]["hasPart"]
    assert len({part["@id"] for part in parts}) == len(files)
    assert "dateModified" not in graph["data/d/100%25"]
    assert graph["data/d/%FF%0A"]["name"] == "\\xff\\n"
