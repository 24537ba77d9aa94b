"""`ignore.yml`: what is understood, what draws a warning, what an addition keeps."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynchy.config import yaml_editor as edit_module
from asynchy.config.ignore_file import KEY, IgnoreFile
from asynchy.config.yaml_editor import edit
from asynchy.config.yaml_list import parse_plain_list
from asynchy.config.yaml_source import parse
from asynchy.errors import IgnoreListError
from asynchy.model.epn import Epn
from asynchy.model.policy import Origin


def epns(ignore: IgnoreFile) -> set[str]:
    return {epn.text for epn in ignore.read().epns}


@pytest.fixture
def ignore(tmp_path: Path) -> IgnoreFile:
    return IgnoreFile(tmp_path / "ignore.yml")


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", set()),
        ("# nothing yet\n", set()),
        ("previouslySynched:\n", set()),
        ("previouslySynched: []\n", set()),
        (
            "previouslySynched: [12282a, 1234, 0123, 9AB]\n",
            {"12282a", "1234", "0123", Epn("9AB").text},
        ),
        ("previouslySynched:\n- 12282a # why\n- '8020l'\n", {"12282a", "8020l"}),
    ],
)
def test_reading_the_ignore_list(ignore: IgnoreFile, text: str, entries: set[str]) -> None:
    ignore.path.write_text(text)
    assert epns(ignore) == entries


def test_a_missing_ignore_list_has_no_entries(ignore: IgnoreFile) -> None:
    assert epns(ignore) == frozenset()
    assert not ignore.path.exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "previouslySynched:\n- 9a # asynchy\n"),
        ("previouslySynched:\n", "previouslySynched:\n- 9a # asynchy\n"),
        ("previouslySynched: []\n", "previouslySynched:\n- 9a # asynchy\n"),
        ("previouslySynched: [1a, 2b]  # all\n", "# Written by asynchy: 9a\npreviouslySynched: [1a, 2b, 9a]  # all\n"),
        ("previouslySynched:\n- 1a\n- 2b\n", "previouslySynched:\n- 1a\n- 2b\n- 9a # asynchy\n"),
        ("# top\npreviouslySynched:\n  - 1a  # one\n  # between\n  - 1234\n",
         "# top\npreviouslySynched:\n  - 1a  # one\n  # between\n  - 1234\n  - 9a # asynchy\n"),
        ("previouslySynched:\n- 1a\nother: {x: 1}\n", "previouslySynched:\n- 1a\n- 9a # asynchy\nother: {x: 1}\n"),
    ],
)  # fmt: skip
def test_adding_keeps_everything_else(ignore: IgnoreFile, before: str, after: str) -> None:
    ignore.path.write_text(before)
    ignore.add_all([Epn("9a")])
    assert ignore.path.read_text() == after
    ignore.add_all([Epn("9a")])
    assert ignore.path.read_text() == after


def test_comments_alone_are_kept(ignore: IgnoreFile) -> None:
    ignore.path.write_text("# ours\n# do not touch\n")
    ignore.add_all([Epn("9a")])
    assert ignore.path.read_text().startswith("# ours\n# do not touch\n")
    assert epns(ignore) == {"9a"}


@pytest.mark.parametrize(
    "text", ["#ours\n", "## ours\n", "#   ours\n", "#\n# ours\n", "#1a\n\n  #2b\n", "#!/x\n"]
)
def test_a_file_of_comments_of_any_style_can_be_added_to(ignore: IgnoreFile, text: str) -> None:
    ignore.path.write_text(text)
    ignore.add_all([Epn("9a")])
    assert epns(ignore) == {"9a"}
    assert [
        w for w in text.split() if w.strip("#") and w.strip("#") not in ignore.path.read_text()
    ] == []


@pytest.mark.parametrize(
    ("before", "ours"),
    [
        ("previouslySynched:\n- 1a\n- 2b # asynchy is odd\n", {"9a", "1234"}),
        ("other: [x]\npreviouslySynched:\n- 1a # why\n", {"9a", "1234"}),
        ("previouslySynched: [1a]\n", {"9a", "1234"}),
        ("other: x\npreviouslySynched: [1a]\n", {"9a", "1234"}),
    ],
)
def test_what_we_wrote_says_so_by_its_line_or_in_a_comment(
    ignore: IgnoreFile, before: str, ours: set[str]
) -> None:
    ignore.path.write_text(before)
    ignore.add_all([Epn("9a"), Epn("1234")])
    assert {epn.text for epn in ignore.read().ours} == ours
    ignore.add_all([Epn("9b")])
    assert {epn.text for epn in ignore.read().ours} == (ours and {*ours, "9b"})


@pytest.mark.parametrize(
    "line", ["- 9A", "- ' 9a'", "- 9a # asynchy please skip", "- 9a # Asynchy"]
)
@pytest.mark.parametrize("beside", [True, False])
def test_a_line_that_a_person_wrote_is_theirs_though_one_of_ours_is_there_too(
    ignore: IgnoreFile, line: str, beside: bool
) -> None:
    ignore.add_all([Epn("9a"), Epn("9b")])
    text = ignore.path.read_text()
    changed = f"{text}{line}\n" if beside else text.replace("- 9a # asynchy", line)
    ignore.path.write_text(changed)
    said = ignore.read().said
    whose = Origin.PERSON if beside or "#" in line else None
    assert said == {"9a": whose, "9b": Origin.OURS}


def test_an_entry_whose_remark_a_person_takes_away_is_no_longer_ours(ignore: IgnoreFile) -> None:
    ignore.add_all([Epn("9a"), Epn("9b")])
    ignore.path.write_text(ignore.path.read_text().replace("9a # asynchy", "9a"))
    assert ignore.read().ours == {Epn("9b")}


def test_a_number_is_written_so_that_it_stays_a_text(ignore: IgnoreFile) -> None:
    ignore.add_all([Epn("1234")])
    assert ignore.path.read_text() == "previouslySynched:\n- '1234' # asynchy\n"


def test_mode_and_link_are_kept(ignore: IgnoreFile, tmp_path: Path) -> None:
    real = tmp_path / "real.yml"
    real.write_text("previouslySynched: [1a]\n")
    real.chmod(0o640)
    ignore.path.symlink_to(real)
    ignore.add_all([Epn("9a")])
    assert ignore.path.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert epns(ignore) == {"1a", "9a"}


@pytest.mark.parametrize(
    "text",
    ["previouslySynched: [12282a\n", "previouslySynched: 12282a\n", "- 12282a\n", "12282a\n",
     "previouslysynched: [1a]\n", "previouslySynched: {a: 1}\n", "a: [1a]\n"],
)  # fmt: skip
def test_a_broken_ignore_list_is_refused_and_stays_as_it_is(ignore: IgnoreFile, text: str) -> None:
    ignore.path.write_text(text)
    for action in (ignore.read, lambda: ignore.add_all([Epn("9a")])):
        with pytest.raises(IgnoreListError) as caught:
            action()
        assert str(ignore.path) in caught.value.message and caught.value.hint
    assert ignore.path.read_text() == text


def test_a_hand_edit_made_meanwhile_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "ignore.yml"
    path.write_text("previouslySynched: [1a]\n")
    calls = []

    def change(data: dict[str, list[str]]) -> bool:
        calls.append(list(data["previouslySynched"]))
        if len(calls) == 1:
            path.write_text("previouslySynched: [1a, by-hand]\n")
        data["previouslySynched"].append("9a")
        return True

    assert edit(path, change)
    assert calls == [["1a"], ["1a", "by-hand"]]
    assert path.read_text() == "previouslySynched: [1a, by-hand, 9a]\n"


def test_many_at_once_lose_nothing(ignore: IgnoreFile) -> None:
    def add(at: int) -> None:
        for x in range(10):
            ignore.add_all([Epn(f"{at}{x}a")])

    threads = [threading.Thread(target=add, args=[at]) for at in (1, 2, 3)]
    code = (
        "import sys; from pathlib import Path; from asynchy.config.ignore_file import IgnoreFile\n"
        "from asynchy.model.epn import Epn\n"
        "[IgnoreFile(Path(sys.argv[1])).add_all([Epn(f'9{x}a')]) for x in range(10)]"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(ignore.path)]) as other:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert other.wait(60) == 0
    assert epns(ignore) == {f"{at}{x}a" for at in (1, 2, 3, 9) for x in range(10)}


def comments_lost(before: str, after: str) -> list[str]:
    return [part for part in before.split("#")[1:] if part.split("\n")[0] not in after]


@pytest.mark.parametrize(
    "text",
    [
        "previouslySynched:\n- 1a # why\n- 2b\n# why not\n",
        "previouslySynched: # why\n- 1a\n\n# why not\n\n- 2b\nother: x\n",
        "# why\n\npreviouslySynched: [1a, 2b]\n",
        "previouslySynched: [1a, 2b]\n# why\n",
        "previouslySynched: [1a, 2b] # why\n",
        "#why\n\n  # why not\nother: 1 # or so\npreviouslySynched:\n    # first\n    - 1a\n    - 2b\n",
    ],
)
def test_every_comment_and_entry_is_kept(ignore: IgnoreFile, text: str) -> None:
    ignore.path.write_text(text)
    for epn in ("9a", "10a"):
        ignore.add_all([Epn(epn)])
    assert epns(ignore) == {"1a", "2b", "9a", "10a"}
    assert comments_lost(text, ignore.path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "previouslySynched: [1a, # why\n  2b]\n",
        "previouslySynched: [1a,\n  2b # why\n  ]\n",
        "previouslySynched: [\n  1a, # why\n  2b, # or not\n]\n",
        "previouslySynched: [ # why\n  1a, 2b]\n",
    ],
)
def test_a_comment_within_brackets_is_kept_or_the_file_is_refused(
    ignore: IgnoreFile, text: str
) -> None:
    ignore.path.write_text(text)
    try:
        ignore.add_all([Epn("9a")])
    except IgnoreListError as error:
        assert "comment" in error.message
        assert ignore.path.read_text() == text
    else:
        assert epns(ignore) == {"1a", "2b", "9a"}
        assert comments_lost(text, ignore.path.read_text()) == []


@pytest.mark.parametrize(
    "entry", ["0123", "1_000", "0x1F", "0o17", "12e5", "1.50", "yes", "2026-01-01", "'123'", '"1a"']
)
def test_an_entry_of_any_look_is_kept_to_the_letter(ignore: IgnoreFile, entry: str) -> None:
    ignore.path.write_text(f"previouslySynched:\n- {entry}\n")
    ignore.add_all([Epn("9a")])
    assert ignore.path.read_text() == f"previouslySynched:\n- {entry}\n- 9a # asynchy\n"


@pytest.mark.parametrize(
    ("there", "added"), [("0123", "123"), ("0123", "0123"), ("1234", "1234"), ("'1234'", "1234"), ("' 1a '", "1a")]
)  # fmt: skip
def test_an_epn_is_in_the_list_exactly_once_after_it_was_added(
    ignore: IgnoreFile, there: str, added: str
) -> None:
    ignore.path.write_text(f"previouslySynched: [{there}]\n")
    ignore.add_all([Epn(added)])
    assert added in epns(ignore)
    once = ignore.path.read_text()
    ignore.add_all([Epn(added)])
    assert ignore.path.read_text() == once
    read = parse(once).data
    assert isinstance(read, dict) and isinstance(read["previouslySynched"], list)
    assert len(read["previouslySynched"]) == len(epns(ignore))


@pytest.mark.parametrize(
    "text",
    [
        "previouslySynched: {}\n",
        'previouslySynched: ""\n',
        "previouslySynched: [1a]\npreviouslySynched: [2b]\n",
        "previouslySynched: [1a, ~]\n",
        "previouslySynched: {1a: 2b}\n",
        "previouslySynched: &x [*x]\n",
        "previouslySynched: [*nobody]\n",
        "previouslySynched: [1a]\n---\nprevious: [2b]\n",
        "\tpreviouslySynched: [1a]\n",
    ],
)
def test_reading_and_adding_refuse_the_same_files(ignore: IgnoreFile, text: str) -> None:
    ignore.path.write_text(text)
    found = []
    for action in (ignore.read, lambda: ignore.add_all([Epn("9a")])):
        try:
            action()
        except IgnoreListError as error:
            assert str(ignore.path) in error.message
            found.append("refused")
    assert found in ([], ["refused", "refused"])
    if found:
        assert ignore.path.read_text() == text


def test_an_ignore_list_that_is_no_text_is_refused_and_stays(ignore: IgnoreFile) -> None:
    ignore.path.write_bytes(b"previouslySynched: [\xff]\n")
    for action in (ignore.read, lambda: ignore.add_all([Epn("9a")])):
        with pytest.raises(IgnoreListError, match="not UTF-8"):
            action()
    assert ignore.path.read_bytes() == b"previouslySynched: [\xff]\n"


def test_an_ignore_list_that_is_a_folder_is_refused(ignore: IgnoreFile) -> None:
    ignore.path.mkdir()
    for action in (ignore.read, lambda: ignore.add_all([Epn("9a")])):
        with pytest.raises(IgnoreListError, match="a folder, not a file"):
            action()


def test_an_ignore_list_in_no_folder_is_empty_and_cannot_be_written(tmp_path: Path) -> None:
    ignore = IgnoreFile(tmp_path / "gone" / "ignore.yml")
    assert epns(ignore) == frozenset()
    with pytest.raises(IgnoreListError, match="cannot be written: No such file") as caught:
        ignore.add_all([Epn("9a")])
    assert caught.value.hint and str(tmp_path / "gone") in caught.value.hint


def test_a_link_that_leads_nowhere_yet_is_written_through(
    ignore: IgnoreFile, tmp_path: Path
) -> None:
    ignore.path.symlink_to("real.yml")
    assert epns(ignore) == frozenset()
    ignore.add_all([Epn("9a")])
    assert ignore.path.is_symlink()
    assert (tmp_path / "real.yml").read_text() == "previouslySynched:\n- 9a # asynchy\n"


def test_nothing_but_the_lock_stays_beside_the_ignore_list(
    ignore: IgnoreFile, tmp_path: Path
) -> None:
    ignore.add_all([Epn("9a")])
    ignore.add_all([Epn("9a")])
    ignore.path.write_text("previouslySynched: {broken\n")
    with pytest.raises(IgnoreListError):
        ignore.add_all([Epn("10a")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ignore.yml.lock", "ignore.yml"]


def test_a_change_that_fails_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ignore.yml"
    path.write_text("previouslySynched: [1a]\n")

    def change(data: dict[str, list[str]]) -> bool:
        data["previouslySynched"].clear()
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        edit(path, change)
    assert path.read_text() == "previouslySynched: [1a]\n"
    assert edit(path, lambda _data: False) is False


def test_a_file_that_never_stops_changing_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "ignore.yml"
    path.write_text("n: []\n")
    calls = []

    def change(data: dict[str, list[str]]) -> bool:
        calls.append(data)
        path.write_text("n: [" + "x, " * len(calls) + "]\n")
        return True

    with pytest.raises(TimeoutError, match="kept changing"):
        edit(path, change)
    assert path.read_text().count("x") == len(calls) < 100
    assert sorted(one.name for one in tmp_path.iterdir()) == [".ignore.yml.lock", "ignore.yml"]


def test_a_file_removed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "ignore.yml"
    path.write_text("previouslySynched: [1a]\n")
    seen = []

    def change(data: dict[str, list[str]]) -> bool:
        seen.append(dict(data))
        path.unlink(missing_ok=True)
        data["previouslySynched"] = ["9a"]
        return True

    assert edit(path, change)
    assert seen == [{"previouslySynched": ["1a"]}, {}]
    assert path.read_text() == "previouslySynched:\n- 9a\n"


def test_a_lock_that_is_never_given_up_is_named(
    ignore: IgnoreFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asynchy.config.yaml_editor._LOCK_WAIT", 0.1)
    ignore.add_all([Epn("1a")])
    with (tmp_path / ".ignore.yml.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(IgnoreListError, match=r"another process keeps .* locked"):
            ignore.add_all([Epn("9a")])
    assert epns(ignore) == {"1a"}


entries_ = st.lists(
    st.from_regex(r"[0-9]{1,6}[A-Za-z]{0,2}", fullmatch=True), max_size=5, unique=True
)
comments_ = st.sampled_from(["", "  # why", "\n", "\n# between\n\n"])


@settings(max_examples=25)
@given(
    entries_,
    st.data(),
    st.sampled_from(["", "  ", "    "]),
    st.from_regex(r"[0-9]{1,6}[A-Za-z]{1,2}", fullmatch=True),
)
def test_adding_to_any_list_adds_one_line(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[str],
    data: st.DataObject,
    indent: str,
    epn: str,
) -> None:
    ignore = IgnoreFile(tmp_path_factory.getbasetemp() / "any-ignore.yml")
    lines = [f"{indent}- {entry}{data.draw(comments_)}" for entry in found]
    ignore.path.write_text("\n".join(["# ours", "previouslySynched:", *lines, ""]))
    before = [line.strip() for line in ignore.path.read_text().splitlines() if line.strip()]
    ignore.add_all([Epn(epn)])
    after = [line.strip() for line in ignore.path.read_text().splitlines() if line.strip()]
    known = {one.lower() for one in found}  # one EPN, however its letters are written
    assert epns(ignore) == {*known, epn.lower()}
    added = [] if epn.lower() in known else [f"- {epn.lower()} # asynchy"]
    assert sorted(line.replace("'", "") for line in after) == sorted(before + added)


MEANINGLESS = [
    ("mx/12282a", "write 12282a"),
    ("12282a;", "write 12282a"),
    ("/data/mx/12282a/", "write 12282a"),
    ("12282a, 12283a", "write one EPN an entry"),
    ("12282a 12283a", "write one EPN an entry"),
    ("'12282a,12283a'", "write one EPN an entry"),
    ("", "an empty entry skips nothing"),
    ("~", "an empty entry skips nothing"),
    ("null", "an empty entry skips nothing"),
    ("''", "an empty entry skips nothing"),
    ("12282a: why", "a key with a value is not an EPN"),
    ("[12282a]", "a list is not an EPN"),
    ("12282a#why", "write 12282a"),
    ("12282a (Jane's)", "write 12282a"),
    ("12282_a", "an EPN is digits and letters, such as 12282a"),
    ("12282-a", "an EPN is digits and letters, such as 12282a"),
    ("12282 a", "an EPN is digits and letters, such as 12282a"),
    ("12282.a", "an EPN is digits and letters, such as 12282a"),
    ("2026-11-11", "an EPN is digits and letters, such as 12282a"),
    ("12282a-12282d", "an EPN is digits and letters, such as 12282a"),
    ("foo", "an EPN is digits and letters, such as 12282a"),
    ("1.5", "an EPN is digits and letters, such as 12282a"),
    ("true", "an EPN is digits and letters, such as 12282a"),
    ('"\\e[31m12282a"', "`\\x1b[31m12282a` is not an EPN"),
]


@pytest.mark.parametrize(("entry", "says"), MEANINGLESS)
def test_an_entry_that_is_no_epn_skips_nothing_and_is_named_with_its_line(
    ignore: IgnoreFile, entry: str, says: str
) -> None:
    text = f"# ours\npreviouslySynched:\n- 1a\n\n- {entry}\n- 2b\n"
    ignore.path.write_text(text)
    found = ignore.read()
    assert {epn.text for epn in found.epns} == {"1a", "2b"}
    (warning,) = found.warnings
    assert warning.startswith(f"{ignore.path}:5: ") and says in warning

    ignore.add_all([Epn("9a")])
    assert ignore.path.read_text() == f"{text}- 9a # asynchy\n"
    assert epns(ignore) == {"1a", "2b", "9a"}


def test_a_link_to_a_folder_that_is_missing_is_named_with_that_folder(tmp_path: Path) -> None:
    link = tmp_path / "ignore.yml"
    link.symlink_to(tmp_path / "away" / "ignore.yml")
    with pytest.raises(IgnoreListError) as found:
        IgnoreFile(link).add_all([Epn("9a")])
    assert f"there is no folder {tmp_path / 'away'}: make it" in str(found.value.hint)


def test_a_thousand_meaningless_entries_draw_a_few_warnings_and_their_number(
    ignore: IgnoreFile,
) -> None:
    ignore.path.write_text("previouslySynched:\n" + "- foo\n" * 1000)
    warnings = ignore.read().warnings
    assert len(warnings) == 21
    assert "980 more entries" in warnings[-1]


@pytest.mark.parametrize("entry", ["1234", "'1234'", " 12282a ", "' 12282a '"])
def test_a_number_and_an_entry_with_blanks_are_epns(ignore: IgnoreFile, entry: str) -> None:
    for text in (f"previouslySynched: [{entry}]\n", f"previouslySynched:\n- {entry}\n"):
        ignore.path.write_text(text)
        assert ignore.read().epns == {Epn(entry.strip(" '"))}
        assert ignore.read().warnings == ()


@pytest.mark.parametrize("there", ["12282A", "12282a"])
def test_an_epn_is_found_as_the_rest_of_the_program_writes_it(
    ignore: IgnoreFile, there: str
) -> None:
    ignore.path.write_text(f"previouslySynched: [{there}]\n")
    assert ignore.read().epns == {Epn.parse(there)}


@pytest.mark.parametrize(
    ("text", "has_list"),
    [
        (None, False),
        ("", False),
        ("# nothing yet\n", False),
        ("{}\n", False),
        ("previouslySynched:\n", True),
        ("previouslySynched: []\n", True),
        ("previouslySynched: [1a]\n", True),
    ],
)
def test_a_file_without_the_key_has_no_list(
    ignore: IgnoreFile, text: str | None, has_list: bool
) -> None:
    if text is not None:
        ignore.path.write_text(text)
    assert ignore.read().has_list == has_list


LAYOUTS: dict[str, Callable[[int], str]] = {
    "block": lambda count: "previouslySynched:\n" + "".join(f"- {n}a\n" for n in range(count)),
    "block with remarks": lambda count: (
        "previouslySynched:\n" + "".join(f"  - '{n}a' # n\n\n" for n in range(count))
    ),
    "flow": lambda count: f"previouslySynched: [{', '.join(f'{n}a' for n in range(count))}]\n",
    "flow, wrapped": lambda count: "previouslySynched: [{}]\n".format(
        ",\n  ".join(f"{n}a" for n in range(count))
    ),
}


@pytest.mark.parametrize("count", [100, 10_000])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_ten_thousand_entries_are_read_and_extended_without_the_yaml_parser(
    ignore: IgnoreFile, layout: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignore.path.write_text(LAYOUTS[layout](count))

    def slow(*_arguments: object) -> None:
        raise AssertionError("the YAML parser needs seconds")

    monkeypatch.setattr("asynchy.config.ignore_file.parse", slow)
    monkeypatch.setattr("asynchy.config.ignore_file.changed", slow)
    assert len(ignore.read().epns) == count
    assert ignore.add_all([Epn("7b"), Epn("7a"), Epn("77")])
    assert len(ignore.read().epns) == count + 2
    monkeypatch.undo()
    if count == 100:  # what is written is YAML; of ten thousand the parser takes a second
        tree = parse(ignore.path.read_text())
        assert isinstance(tree.data, dict) and isinstance(tree.data[KEY], list)
        assert tree.data[KEY][-2:] == ["77", "7b"] and len(tree.data[KEY]) == count + 2


def test_many_epns_are_one_write(ignore: IgnoreFile, monkeypatch: pytest.MonkeyPatch) -> None:
    ignore.path.write_text("previouslySynched: [1a]\n")
    writes = []
    replaced = edit_module._replace

    def counted(path: Path, text: str, before: tuple[int, int, int] | None) -> bool:
        writes.append(text)
        return replaced(path, text, before)

    monkeypatch.setattr(edit_module, "_replace", counted)
    assert ignore.add_all([Epn(f"{number}b") for number in range(50)])
    assert len(writes) == 1 and len(epns(ignore)) == 51
    assert not ignore.add_all([Epn("1a"), Epn("7b")])
    assert len(writes) == 1


def test_a_hand_edit_while_many_are_added_is_not_lost(
    ignore: IgnoreFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignore.path.write_text("previouslySynched: [1a]\n")
    replaced = edit_module._replace
    edits = iter(["previouslySynched:\n- 1a\n- 5c # by hand\n"])

    def edited_first(path: Path, text: str, before: tuple[int, int, int] | None) -> bool:
        if (by_hand := next(edits, None)) is not None:
            path.write_text(by_hand)
        return replaced(path, text, before)

    monkeypatch.setattr(edit_module, "_replace", edited_first)
    ignore.add_all([Epn("9a"), Epn("8a")])
    assert (
        ignore.path.read_text()
        == "previouslySynched:\n- 1a\n- 5c # by hand\n- 8a # asynchy\n- 9a # asynchy\n"
    )


@pytest.mark.parametrize(
    ("before", "top"),
    [
        ("", ""),
        ("previouslySynched: []\n", ""),
        ("# ours\n# to the letter\n\n# more\npreviouslySynched:\n- 1a\n", "# ours\n# to the letter\n"),
        ("---\nother: 1\npreviouslySynched: [{a: 1}]\n", ""),
    ],
)  # fmt: skip
def test_our_comment_is_at_the_top_and_names_the_catalogue(
    ignore: IgnoreFile, before: str, top: str
) -> None:
    ignore.path.write_text(before)
    assert ignore.read().catalogue is None
    ignore.add_all([Epn("9a")], Path("/var/lib/asynchy/catalogue.db"))
    ours = "# asynchy adds an EPN when its copies are complete. Catalogue: /var/lib/asynchy/catalogue.db\n"
    assert ignore.path.read_text().startswith(f"{top}{ours}")
    assert ignore.read().catalogue == "/var/lib/asynchy/catalogue.db"
    assert Epn("9a") in ignore.read().epns
    ignore.add_all([Epn("10a")], Path("/elsewhere.db"))
    assert ignore.path.read_text().count("Catalogue:") == 1


def test_without_new_entries_the_comment_is_written_all_the_same(ignore: IgnoreFile) -> None:
    ignore.path.write_text("previouslySynched: [9a]\n")
    assert ignore.add_all([Epn("9a")], Path("/var/lib/asynchy/catalogue.db"))
    assert ignore.read().catalogue == "/var/lib/asynchy/catalogue.db"
    assert ignore.path.read_text().endswith("\npreviouslySynched: [9a]\n")
    assert ignore.read().ours == frozenset()
    assert not ignore.add_all([Epn("9a")], Path("/var/lib/asynchy/catalogue.db"))


def test_a_byte_order_mark_is_no_part_of_the_first_key(ignore: IgnoreFile) -> None:
    ignore.path.write_text("\ufeffpreviouslySynched:\n- 1a\n")
    ignore.add_all([Epn("9a")], Path("/catalogue.db"))
    assert epns(ignore) == {"1a", "9a"}
    assert ignore.read().catalogue == "/catalogue.db"


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029", "\x0c", "\x07"])
def test_what_the_yaml_parser_refuses_is_no_plain_list(ignore: IgnoreFile, character: str) -> None:
    text = f"previouslySynched:\n- 1a # why{character}- 2b\n"
    ignore.path.write_text(text)
    with pytest.raises(IgnoreListError, match="not YAML"):
        ignore.read()
    assert parse_plain_list(text, KEY) is None


pieces = st.sampled_from(
    [
        "previouslySynched:", "- ", "-", "12a", "'12a'", '"12a"', "1234", "\n", "\n", "\n- 3c\n", "  ", " ",
        "#", " # why", "[", "]", ",", ", ", "~", "null", "---", "...", ":", ": ", "a: 1", "{", "}", "&x", "*x",
        "!!int ", "|", ">", "?", "é", "\t", "\x85", "\u2028", "foo bar", "mx/1a", "1a;", "%YAML 1.2", "<<",
    ]
)  # fmt: skip
texts = st.one_of(
    st.lists(pieces, max_size=12).map("".join),
    st.lists(pieces, max_size=8).map(lambda parts: f"{KEY}:" + "".join(parts)),
    st.lists(pieces, max_size=8).map(lambda parts: f"{KEY}:\n- 1a\n" + "".join(parts)),
    st.lists(pieces, max_size=8).map(lambda parts: f"{KEY}: [1a, " + "".join(parts)),
)


@settings(max_examples=6 * settings().max_examples)
@given(texts)
def test_a_plain_list_says_what_the_yaml_parser_says(text: str) -> None:
    plain = parse_plain_list(text, KEY)
    if plain is None:
        return
    tree = parse(text)
    assert (KEY in tree.data if isinstance(tree.data, dict) else False) == plain.has_key
    entries = (tree.data or {})[KEY] if plain.has_key else []  # type: ignore[index]
    assert [entry for _, entry in plain.entries] == (entries or [])
    assert [line for line, _ in plain.entries] == [
        tree.lines[KEY, at] for at in range(len(plain.entries))
    ]
    extended = plain.extended(["99z", "77"], KEY, "asynchy")
    assert parse(extended).data == {KEY: [*(entry for _, entry in plain.entries), "99z", "77"]}
    assert parse_plain_list(extended, KEY) is not None
