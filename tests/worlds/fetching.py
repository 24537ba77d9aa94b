"""What a cycle does in a world: listings, transfers, and what is noted of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from asynchy.copying.fetch import MAX_ROUNDS, Outcome
from asynchy.copying.outcome_rules import judge
from asynchy.errors import DestinationTaken
from asynchy.model.attempt import Attempt, EngineResult, Verdict
from asynchy.model.experiment import Copy, ListingDiff
from asynchy.model.ignore_rules import epns_to_add
from asynchy.model.plan import DueCopy, FreeSpace, Plan, PlannedTransfer, Skipped, SkipReason
from asynchy.model.plan_overview import long_visits
from asynchy.model.policy import IgnoreEntry, Origin
from asynchy.model.verification import Level
from asynchy.repatriation.due_notes import due_notes
from asynchy.repatriation.due_rules import Places, after_listing, planned, when_absent
from asynchy.repatriation.executor import exit_code_for
from tests.worlds.asking import Asking, Seen, name_of
from tests.worlds.events import Kind
from tests.worlds.facts import Arrival
from tests.worlds.names import Files, Name

LONG_VISIT = timedelta(days=7)
_ROOM = FreeSpace(10**15, None)


class Fetching:
    """Carries out what asynchy has decided, in a world."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.world = asking.world
        self.store = asking.store
        self.oracle = asking.oracle
        self.transfers = 0

    # What is done.

    def cycle(self, seen: Seen) -> int | None:
        """The plan, carried out; its exit code, None: the process was killed."""
        transfers, left_out = self._fitting(seen)
        plan = Plan(
            transfers=tuple(transfers),
            left_out=tuple(left_out),
            problems=seen.problems,
            unlisted=seen.unlisted,
            states=seen.states,
            ignored=frozenset(
                epn for epn, entry in seen.ignored.items() if entry.origin is not Origin.REMOVED
            ),
            notices=long_visits(seen.states, seen.policy, LONG_VISIT),
        )
        self.transfers += len(transfers)
        outcomes = []
        for transfer in transfers:
            if Kind.CRASH in self.world.down:
                self._be_killed(transfer)
                return None
            outcomes.append(self._bring(transfer, plan.unsure))
        done = {outcome.copy.experiment for outcome in outcomes if outcome.complete}
        new = epns_to_add(plan.states, plan.ignored, done)
        now = self.world.clock
        self.store.add_entries({epn.text: IgnoreEntry(Origin.OURS, now) for epn in new})
        self.world.ignore += [epn.text for epn in new if epn.text not in self.world.ignore]
        self.world.removed -= set(self.world.ignore)
        failed = [
            (outcome.copy, outcome.reason or outcome.verdict.value)
            for outcome in outcomes
            if not outcome.complete
        ]
        notes = due_notes(plan, failed, done)
        self.store.note(notes.undone, notes.done, now)
        return int(exit_code_for(plan, tuple(outcomes)))

    def _fitting(self, seen: Seen) -> tuple[list[PlannedTransfer], list[Skipped]]:
        decided = [item for item in map(planned, seen.states) if item is not None]
        transfers: list[PlannedTransfer] = []
        left_out: list[Skipped] = []
        places = Places()
        for item in decided:
            decision = self._listed(item) if isinstance(item, DueCopy) else item
            if isinstance(decision, PlannedTransfer):
                decision = places.fill(decision)
            if isinstance(decision, PlannedTransfer):
                transfers.append(decision)
            else:
                left_out.append(decision)
        return transfers, left_out

    def _listed(self, due: DueCopy) -> PlannedTransfer | Skipped:
        """As `repatriation.capacity`: whether the project is there, what the facility has."""
        project = str(due.copy.project_folder)
        if self.world.project_state(project) == "absent":
            return Skipped(due.experiment, SkipReason.NO_PROJECT_FOLDER, project, due.copy.project)
        left, reason = SkipReason.UNLISTED, "no connection"
        beamline, epn = name_of(due.experiment)
        folder = self.world.visible(beamline).get(epn)
        if beamline in self.world.down.get(Kind.SFTP_DOWN, ()):
            pass
        elif folder is None:
            absent = when_absent(due)
            if not absent.reason.stays_due:
                return absent
            left, reason = absent.reason, absent.detail
        elif folder.link != "broken":
            listing_diff = self._survey(due.copy)
            self.store.note_losses(due.copy, listing_diff)
            return after_listing(due, listing_diff, _ROOM)
        self._unlisted(due.copy, f"{left.text}: {reason}")
        return Skipped(due.experiment, left, reason, due.copy.project)

    def _unlisted(self, copy: Copy, reason: str) -> None:
        self.oracle.not_completed(name_of(copy.experiment), str(copy.destination))
        try:
            attempt = replace(self._attempt(Verdict.FAILED, reason, None), engine="")
            self.store.record_unlisted(copy, attempt)
        except DestinationTaken as error:
            self.world.note(f"{copy.epn}: {error}")

    def _survey(self, copy: Copy) -> ListingDiff:
        name, now = name_of(copy.experiment), self.world.clock
        files = self._facility(name)
        at_home = self.world.tree(str(copy.destination)) or {}
        listing = self.store.list_files(copy, files, at_home, now)
        self.oracle.experiment_listed(name, dict(files))
        missing = [
            size for path, (size, when) in files.items() if at_home.get(path) != (size, when)
        ]
        return ListingDiff(
            listed_at=now,
            files=len(files),
            bytes=sum(size for size, _ in files.values()),
            folders=1,
            missing_files=len(missing),
            missing_bytes=sum(missing),
            missing_folders=0,
            fingerprint=str(sorted(files.items())),
            listing=listing,
        )

    def _facility(self, name: Name) -> Files:
        folder = self.world.folders.get(name)
        return {} if folder is None else folder.files

    def _bring(self, transfer: PlannedTransfer, unsure: str | None) -> Outcome:
        """As `copying.fetch`: fetch, list again, judge, record."""
        copy, before_ = transfer.copy, transfer.listing_diff
        name, destination = name_of(copy.experiment), str(copy.destination)
        try:
            copy_id = self.store.acquire_lease(copy, self.world.clock)
        except DestinationTaken as error:
            return Outcome(copy, Verdict.FAILED, error.message, error.hint)
        for rounds in range(MAX_ROUNDS):
            result = self._transfer(name, destination, rounds)
            after = self._survey(copy) if result.ok else None
            judgement = judge(result, before_, after, unsure=unsure)
            if judgement.all_at_home and after is not None:
                self.store.hold(copy_id, after, Level.TRANSPORT)
            attempt = self._attempt(judgement.verdict, judgement.reason, after)
            self.store.record(copy_id, attempt, after)
            self._tell_oracle(name, destination, after, judgement.verdict)
            if judgement.verdict is not Verdict.CHANGED or after is None:
                break
            before_ = after
        self.store.release_claim(copy_id)
        self.world.note(
            f"{name[0]}/{name[1]}: fetched ({transfer.why.value}): {judgement.verdict.value}"
        )
        return Outcome(copy, judgement.verdict, judgement.reason)

    def _transfer(self, name: Name, destination: str, rounds: int) -> EngineResult:
        """What an engine does: all that misses comes home, unless it breaks off."""
        files = dict(self._facility(name))
        fails = Kind.ENGINE_FAILS in self.world.down
        if fails:
            files = dict(sorted(files.items())[: len(files) // 2])
        self.world.write(destination, files)
        if rounds < int(self.world.down.get(Kind.CHANGES, 0)):
            folder = self.world.folders[name]
            folder.files["changing"] = (rounds + 1, int(self.world.now.timestamp()) + rounds)
            self.world.unwatched.setdefault(name, set()).add("changing")
        return EngineResult(
            ok=not fails, exit_code=30 if fails else 0, files=len(files), bytes=0,
            reason="the connection broke off" if fails else None, hint=None, stderr="",
        )  # fmt: skip

    def _tell_oracle(
        self, name: Name, destination: str, after: ListingDiff | None, verdict: Verdict
    ) -> None:
        """What is true of a transfer, whatever its verdict."""
        files = dict(self._facility(name))
        at_home = self.world.tree(destination) or {}
        whole = after is not None and all(at_home.get(path) == what for path, what in files.items())
        quiet = int(self.world.down.get(Kind.CHANGES, 0)) < MAX_ROUNDS
        if after is None or not whole or (verdict is Verdict.CHANGED and not quiet):
            self.oracle.not_completed(name, destination)
            return
        sure = not self.world.skew and not self.asking.portal_troubles()
        running = self.oracle.is_running(name, self.world.now)
        self.oracle.fetched(
            name, destination, Arrival(after.listed_at, files, sure and not running)
        )

    def _be_killed(self, transfer: PlannedTransfer) -> None:
        copy = transfer.copy
        try:
            copy_id = self.store.acquire_lease(copy, self.world.clock)
        except DestinationTaken:
            return
        name = name_of(copy.experiment)
        files = sorted(self._facility(name).items())
        self.world.write(str(copy.destination), dict(files[: len(files) // 2]))
        self.store.record(copy_id, self._attempt(Verdict.INTERRUPTED, "killed", None), None)
        self.store.release_claim(copy_id)
        self.oracle.not_completed(name, str(copy.destination))

    def _attempt(self, verdict: Verdict, reason: str | None, after: ListingDiff | None) -> Attempt:
        now = self.world.clock
        return Attempt(
            started=now, ended=now + timedelta(minutes=1), host="here", pid=1, engine="sftp",
            chosen=None, check="transport", compare="time", verdict=verdict, exit_code=0,
            files=0, bytes=0, listed_at=after.listed_at if after else None,
            listed_files=after.files if after else None,
            listed_bytes=after.bytes if after else None, reason=reason, stderr="",
        )  # fmt: skip
