"""What can happen in a world by chance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from tests.worlds.names import BEGIN, Name, shown

if TYPE_CHECKING:
    from tests.worlds.world import World


class Kind(Enum):
    """What can happen; the value is how it is told."""

    PORTAL_DOWN = "the portal is down"
    PORTAL_PARTLY = "the portal hints at further pages"
    PORTAL_UNREADABLE = "the portal tells of a visit that cannot be understood"
    SFTP_DOWN = "the SFTP service is down"
    ENGINE_FAILS = "transfers break off"
    CRASH = "the service is killed in the middle of a transfer"
    CHANGES = "files change while they are fetched"
    NO_CYCLE = "no cycle runs"
    NO_MAIL = "the mail server is down"
    CLOCK = "this machine's clock is wrong"
    UNMOUNT_ABSENT = "a project's folder is not there"
    UNMOUNT_EMPTY = "a project's mount is gone, its folder is empty"
    LOSE_COPY = "a copy is deleted at home"
    EMPTY_COPY = "a copy is emptied at home"
    MOVE_COPY = "a copy is moved away at home, and back"
    OLD_COPY = "a copy is restored from an old backup"
    EDIT_COPY = "a person edits a file at home"
    LINK = "a folder at the facility becomes a link"
    BROKEN_LINK = "a folder at the facility becomes a broken link"
    HIDE = "a folder at the facility cannot be seen for some days"
    SHRINK = "a file at the facility vanishes or shrinks"
    SKIP = "a person adds an EPN to ignore.yml"
    UNSKIP = "a person removes an EPN from ignore.yml"
    RELEASE = "a person releases an experiment"
    REMAP = "a proposal gets another project"
    UNMAP = "a proposal is taken out of epn_cap_map"
    DESTINATION = "the config gets another destination"
    FETCH_VISIBLE = "fetch-visible is switched"
    RESTORE = "state is restored from last week's backup"
    RESTORE_CATALOGUE = "the catalogue alone is restored from last week's backup"
    MOVE_VISIT = "a visit is moved"
    CALL_OFF = "a visit is called off"
    RETURN = "an EPN gets a further visit"


def portal_down(world: World) -> None:
    what = world.random.choice([(23,), (24,), (23, 24), (23, 24)])
    world.for_days(Kind.PORTAL_DOWN, what, 9)


def portal_partly(world: World) -> None:
    world.for_days(Kind.PORTAL_PARTLY, 23, 4)


def portal_unreadable(world: World) -> None:
    world.for_days(Kind.PORTAL_UNREADABLE, world.random.choice(world.names), 4)


def sftp_down(world: World) -> None:
    what = world.random.choice([("mx1",), ("mx2",), ("mx1", "mx2"), ("mx1", "mx2")])
    world.for_days(Kind.SFTP_DOWN, what, 8)


def engine_fails(world: World) -> None:
    world.for_days(Kind.ENGINE_FAILS, True, 4)


def crash(world: World) -> None:
    world.for_days(Kind.CRASH, True, 2)


def changes(world: World) -> None:
    world.for_days(Kind.CHANGES, world.random.randint(1, 4), 2)


def no_cycle(world: World) -> None:
    world.for_days(Kind.NO_CYCLE, True, 9)


def no_mail(world: World) -> None:
    world.for_days(Kind.NO_MAIL, True, 4)


def clock_wrong(world: World) -> None:
    draw = world.random
    hours = draw.choice([-1, 1]) * draw.choice([1, 12, 24 * 5, 24 * 400])
    world.for_days(Kind.CLOCK, f"{hours} h", 4)
    world.skew = timedelta(hours=hours)


def unmount(world: World, how: str) -> None:
    folder = _some_project(world)
    if folder is None or folder in world.unmounted:
        return
    world.unmounted[folder] = how
    world.under_mounts.clear()
    until = min(world.day + world.random.randint(1, 7), world.quiet_from)
    world.note(f"{folder} is {how} until day {until}")
    world.at(until, lambda: _mount(world, folder))


def _mount(world: World, folder: str) -> None:
    if world.unmounted.pop(folder, None) is None:
        return
    world.note(f"{folder} is mounted again")
    for destination, files in world.under_mounts.items():
        below = world.home.get(destination)
        if below and below != files and world.project_folder_of(destination) == folder:
            world.touched.add(destination)  # what was there before is not what was brought


def _some_project(world: World) -> str | None:
    projects = sorted(set(world.config.mapping.values()))
    return f"{world.config.root}/{world.random.choice(projects)}" if projects else None


def _some_copy(world: World) -> str | None:
    return world.random.choice(sorted(world.home)) if world.home else None


def lose_copy(world: World) -> None:
    if (copy := _some_copy(world)) is not None:
        del world.home[copy]
        world.note(f"{copy} is deleted at home")


def empty_copy(world: World) -> None:
    if (copy := _some_copy(world)) is not None:
        world.home[copy] = {}
        world.note(f"{copy} is emptied at home")


def move_copy(world: World) -> None:
    copy = _some_copy(world)
    if copy is None:
        return
    files = world.home.pop(copy)
    until = min(world.day + world.random.randint(1, 8), world.quiet_from)
    world.note(f"{copy} is moved away until day {until}")

    def back() -> None:
        world.home[copy] = {**files, **world.home.get(copy, {})}
        world.touched.add(copy)
        world.note(f"{copy} is moved back")

    world.at(until, back)


def old_copy(world: World) -> None:
    copy = _some_copy(world)
    if copy is not None and world.home[copy]:
        path = world.random.choice(sorted(world.home[copy]))
        del world.home[copy][path]
        if world.home[copy]:
            world.touched.add(copy)
        world.note(f"{copy} is restored from an old backup, without {path}")


def edit_copy(world: World) -> None:
    copy = _some_copy(world)
    if copy is not None and world.home[copy]:
        path = world.random.choice(sorted(world.home[copy]))
        world.home[copy][path] = (7, int(world.now.timestamp()))
        world.touched.add(copy)
        world.note(f"{copy}/{path} is edited at home")


def _some_folder(world: World) -> Name | None:
    return world.random.choice(sorted(world.folders)) if world.folders else None


def link(world: World, how: str) -> None:
    name = _some_folder(world)
    if name is None:
        return
    world.folders[name].link = how
    until = min(world.day + world.random.randint(1, 8), world.quiet_from)
    world.note(f"{shown(name)}: its folder is a {how} link until day {until}")

    def end() -> None:
        if name in world.folders:
            world.folders[name].link = ""

    world.at(until, end)


def hide(world: World) -> None:
    name = _some_folder(world)
    if name is None:
        return
    world.folders[name].hidden = True
    until = min(world.day + world.random.randint(1, 8), world.quiet_from)
    world.note(f"{shown(name)}: its folder is not there until day {until}")

    def end() -> None:
        if name in world.folders:
            world.folders[name].hidden = False
            world.note(f"{shown(name)}: its folder is there again")

    world.at(until, end)


def shrink(world: World) -> None:
    name = _some_folder(world)
    if name is None or not world.folders[name].files:
        return
    files = world.folders[name].files
    path = world.random.choice(sorted(files))
    if world.random.random() < 0.5 and len(files) > 1:
        del files[path]
        world.note(f"{shown(name)}: {path} vanishes at the facility")
        return
    size, when = files[path]
    files[path] = (size // 2, when)
    world.note(f"{shown(name)}: {path} shrinks at the facility")
    world.unwatched.setdefault(name, set()).add(path)


def skip(world: World) -> None:
    epn = world.random.choice(world.names)[1]
    if epn not in world.ignore and epn not in world.removed:
        world.ignore.append(epn)
        world.persons.add(epn)
        world.note(f"a person adds {epn} to ignore.yml")


def unskip(world: World) -> None:
    if not world.ignore:
        return
    epn = world.random.choice(world.ignore)
    world.ignore.remove(epn)
    world.persons.discard(epn)
    world.original.discard(epn)
    world.removed.add(epn)
    world.note(f"a person removes {epn} from ignore.yml")


def remap(world: World) -> None:
    if world.config.mapping:
        proposal = world.random.choice(sorted(world.config.mapping))
        world.config.mapping[proposal] = f"q{proposal[-2:]}"
        world.note(f"proposal {proposal} belongs to q{proposal[-2:]} now")


def unmap(world: World) -> None:
    if world.config.mapping:
        proposal = world.random.choice(sorted(world.config.mapping))
        project = world.config.mapping.pop(proposal)
        world.note(f"proposal {proposal} is in no project")
        until = min(world.day + world.random.randint(1, 9), world.quiet_from)
        world.at(until, lambda: _map(world, proposal, project))


def _map(world: World, proposal: str, project: str) -> None:
    world.config.mapping.setdefault(proposal, project)
    world.note(f"proposal {proposal} is mapped to {project}")


def other_destination(world: World) -> None:
    if world.random.random() < 0.5:
        world.config.root = "/home1" if world.config.root == "/home0" else "/home0"
    else:
        world.config.path = "{project}/{beamline}/{epn}/data"
    world.note(f"destinations are {world.config.root}/{world.config.path} now")


def fetch_visible(world: World) -> None:
    world.config.fetch_visible = not world.config.fetch_visible
    world.note(f"fetch-visible: {world.config.fetch_visible}")


def restore_state(world: World, kind: Kind) -> None:
    world.restore = kind
    world.note(kind.value)


def move_visit(world: World) -> None:
    coming = [visit for visit in world.visits if visit.end > world.now]
    if coming:
        visit = world.random.choice(coming)
        by = timedelta(days=world.random.uniform(-3, 3))
        end = min(visit.end + by, BEGIN + timedelta(days=world.quiet_from - 9))
        visit.start, visit.end = end - (visit.end - visit.start), end
        world.note(f"visit {visit.number} of {shown(visit.name)} is moved by {by}")
        _forget_watch(world, visit.name)


def _forget_watch(world: World, name: Name) -> None:
    """Files that come after the new end and its second look are seen by nobody."""
    world.unwatched.setdefault(name, set()).update(
        f"v{visit.number}-{end}"
        for visit in world.visits
        if visit.name == name
        for end in ("0", "1", "2", "late")
    )


def call_off(world: World) -> None:
    coming = [visit for visit in world.visits if visit.end > world.now]
    if coming:
        visit = world.random.choice(coming)
        visit.called_off = True
        world.note(f"visit {visit.number} of {shown(visit.name)} is called off")
        _forget_watch(world, visit.name)


def further_visit(world: World) -> None:
    if world.day < world.quiet_from - 12:
        name = world.random.choice(world.names)
        world.draw_visit(name, world.day + world.random.uniform(1, 2))
        world.note(f"{shown(name)}: a further visit, number {world.number}")


def release(world: World) -> None:
    world.to_release.append(world.random.choice(world.names))


HAPPENS: dict[Kind, Callable[[World], None]] = {
    Kind.PORTAL_DOWN: portal_down,
    Kind.PORTAL_PARTLY: portal_partly,
    Kind.PORTAL_UNREADABLE: portal_unreadable,
    Kind.SFTP_DOWN: sftp_down,
    Kind.ENGINE_FAILS: engine_fails,
    Kind.CRASH: crash,
    Kind.CHANGES: changes,
    Kind.NO_CYCLE: no_cycle,
    Kind.NO_MAIL: no_mail,
    Kind.CLOCK: clock_wrong,
    Kind.UNMOUNT_ABSENT: lambda world: unmount(world, "absent"),
    Kind.UNMOUNT_EMPTY: lambda world: unmount(world, "empty"),
    Kind.LOSE_COPY: lose_copy,
    Kind.EMPTY_COPY: empty_copy,
    Kind.MOVE_COPY: move_copy,
    Kind.OLD_COPY: old_copy,
    Kind.EDIT_COPY: edit_copy,
    Kind.LINK: lambda world: link(world, "link"),
    Kind.BROKEN_LINK: lambda world: link(world, "broken"),
    Kind.HIDE: hide,
    Kind.SHRINK: shrink,
    Kind.SKIP: skip,
    Kind.UNSKIP: unskip,
    Kind.RELEASE: release,
    Kind.REMAP: remap,
    Kind.UNMAP: unmap,
    Kind.DESTINATION: other_destination,
    Kind.FETCH_VISIBLE: fetch_visible,
    Kind.RESTORE: lambda world: restore_state(world, Kind.RESTORE),
    Kind.RESTORE_CATALOGUE: lambda world: restore_state(world, Kind.RESTORE_CATALOGUE),
    Kind.MOVE_VISIT: move_visit,
    Kind.CALL_OFF: call_off,
    Kind.RETURN: further_visit,
}
"""What each kind does."""
