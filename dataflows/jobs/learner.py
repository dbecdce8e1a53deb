"""Learns for one region: follows its log, trains when it is due, shadows challengers, and promotes or rolls back by the gates.

Everything that it decides from is in the ledger, and what it decides is recorded in the control log, which the forecaster
obeys at its next close. In a bounded run it takes its turn after each slot, so that its records are the same every time.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from dataflows.jobs.band_parts import BandParts
from dataflows.jobs.drifting import drift_since
from dataflows.jobs.experiments import Deciding
from dataflows.jobs.judging import fairness_of, trial_of
from dataflows.jobs.learn import train_region
from dataflows.jobs.promoting import promote_by_gates, reject_by_gates, roll_back_by_gates
from dataflows.jobs.refits import end_probation, on_probation, promotions_since, refit_of, watched_by
from dataflows.jobs.shadowing import FoldAt, KeptShadows, Running, served_in
from dataflows.stream.record import closed_of
from dataflows.stream.stores import Stores
from ledger.views.closes import Close, closes
from ledger.views.control import ControlView
from ledger.views.model_story import MeasureStory, Stories, stories_of
from ledger.views.regions import bootstrap_of, defined_by
from schemas.configuration.areas import areas_of
from schemas.errors import ContractError, DamagedError, NotFound, UsageError
from schemas.records.records import CONTROL_LOG, Category, SlotClosed, SlotScored, region_log
from state.decide.parameter_table import models_off, retraining_rules
from state.decide.probation import judge_probation
from state.decide.promotion import Outcome, PromotionRules, Verdict, judge
from state.decide.refits import RefitRules, judge_refit
from state.decide.retraining import DAYS_A_WEEK, History, RetrainingRules, day_scores, due, may_promote
from state.decide.shadow import FAIRNESS, Shadow
from state.demand.calendar import Calendar
from state.demand.history import Arrays
from state.detect.paired_fairness import PairedFairness
from state.forecast.region import under
from state.forecast.training import MOST_ROWS

log = logging.getLogger(__name__)

# Roles of a shadow: a challenger; after a promotion by the gates the champion before, and the one before a row of refits.
TRIAL, WATCH, ANCHOR = "trial", "watch", "anchor"


class Learner:
    """Takes turns for one region.

    Args:
        stores: Open stores.
        region: Name of a bootstrapped region.
        retraining, promotion, refits: The rules.
        clock: Monotonic seconds, to measure what a close takes; None in a bounded run, whose records must not depend on time.
        kept: Where shadows are kept between runs; None for nowhere.
        most_rows: As in `train_region`.
        on_training: Called with the reason before each training, which takes long.
        on_part: Called with the share of a training's stage that is done, 0 to 1.
        beat: Called often during long work.
    """

    def __init__(
        self,
        stores: Stores,
        region: str,
        *,
        retraining: RetrainingRules | None = None,
        promotion: PromotionRules | None = None,
        refits: RefitRules | None = None,
        clock: Callable[[], float] | None = None,
        kept: KeptShadows | None = None,
        most_rows: int = MOST_ROWS,
        on_training: Callable[[str], None] = lambda reason: None,
        on_part: Callable[[float], None] = lambda share: None,
        beat: Callable[[], object] = lambda: None,
    ) -> None:
        self._stores, self._kept, self._clock = stores, kept, clock
        self._boot = bootstrap_of(stores.ledger, region)
        self.region = defined_by(self._boot)
        self._log = region_log(region)
        self._day_slots = Calendar(self.region).day_slots
        self.retraining, self.promotion = retraining or RetrainingRules(), promotion or PromotionRules()
        self.refits = refits or RefitRules()
        self._most_rows, self._on_training, self._on_part, self._beat = most_rows, on_training, on_part, beat
        self._control = ControlView(stores.ledger)
        self._fold_at = FoldAt(stores, self.region, self._boot, beat)
        self._experiments = Deciding(stores, self.region)
        self._bands = BandParts(stores, self.region, self._day_slots, beat)
        self._shadows: dict[tuple[str, str], Running] = {}  # by (measure, role)
        self._passed: dict[str, Running] = {}  # by measure: the trial of a refit that has just been promoted
        self._ended: set[tuple[str, bytes, bytes]] = set()  # (measure, model, champion) of watches that are over
        self._areas_fault = ""  # why the region's areas cannot be used
        self._refused_day = -1  # on which there was too little history to train on
        self._stories: Stories = {}
        self._waiting = False  # a shadow is to start, though the control log has not changed
        self._unusable: set[bytes] = set()  # models whose artefacts cannot be shadowed, each reported once
        self._caught_up = False
        self.unsaved = False  # a shadow has started since the last save
        self._seen = (-1, b"")  # size and root of the control log of `_stories`
        self.size = stores.ledger.head(self._log).size
        self._follow_control()

    def take_turn(self) -> int:
        """Handle every slot that closed since the last turn; returns how many."""
        self._catch_up()
        size = self._stores.ledger.head(self._log).size
        done = 0
        if size < self.size:  # the log was continued after a loss: what was seen of it is not in it
            self._shadows.clear()
            self._fold_at = FoldAt(self._stores, self.region, self._boot, self._beat)
            self._experiments = Deciding(self._stores, self.region)
            self._bands = BandParts(self._stores, self.region, self._day_slots, self._beat)
            self.size, self._waiting = size, True
        for close in closes(self._stores.ledger, self._log, self.size, size):
            self._beat()
            self._take(close)
            done += 1
        self.size = size
        return done

    def save(self) -> None:
        """Keep the shadows for the next run; a disk that cannot take them is reported, for they are only a cache."""
        self.unsaved = False
        if self._kept is None:
            return
        root = self._stores.ledger.root_at(self._log, self.size)
        for (measure, role), running in self._shadows.items():
            try:
                self._kept.save(self._name(measure, role), running, self.size, root)
            except OSError as full:
                log.warning("region %s, %s: the %s is not kept for a restart: %s", self.region.id, measure, role, full)

    # --- one slot ----------------------------------------------------------------------------------

    def _take(self, close: Close) -> None:
        slot = close.record.slot
        for (measure, role), running in list(self._shadows.items()):
            if not self._step(running, close, measure):
                log.warning("region %s, %s: the %s starts again: a forecast of slot %d is missing", self.region.id, measure, role, slot)
                del self._shadows[measure, role]
                self._waiting = True
        self.size = close.entries[-1].index + 1
        self._experiments.take(slot, self.size)
        self._follow_control()
        ended = slot + 1 - self.region.horizons[-1]  # every window of an issue before it has ended
        if ended % self._day_slots == 0:
            self._end_day(ended)

    def _end_day(self, ended: int) -> None:
        for number, measure in enumerate(self.region.measures):
            self._judge(number, measure, ended)
        self._train_if_due(ended // self._day_slots)
        self._follow_control()
        if self._kept is not None:
            try:
                self._kept.mark(self.region.id, ended)
            except OSError as full:
                log.warning("region %s: a restart will decide again what was decided today: %s", self.region.id, full)

    def _catch_up(self) -> None:
        """Decide once more at the end of the newest day: a process that was killed meanwhile, or did not run, decided nothing then.

        What was decided is in the control log, so that nothing is decided twice; a note beside the kept shadows says for which day.
        """
        if self._caught_up:
            return
        self._caught_up = True
        newest = self._stores.ledger.find(self._log, SlotClosed)
        if newest is None:
            return
        ended = (newest.slot + 1 - self.region.horizons[-1]) // self._day_slots * self._day_slots
        if ended >= self._boot.start_slot and (self._kept is None or self._kept.marked(self.region.id) < ended):
            self._end_day(ended)

    def _step(self, running: Running, close: Close, measure: str) -> bool:
        """Let a shadow take a slot; returns whether it could."""
        record = close.record
        control = self._control.at(record.control_size, record.control_root)
        version, known = control.fold_version(self._boot, record.slot), control.covariates_of(self.region.id)
        try:
            served = served_in(self._stores, close, measure)
        except NotFound:
            return False
        closed = closed_of(self.region, record, close.before, self._stores.blobs)
        running.shadow.take(closed, record.status, version, served, known)
        return True

    def _follow_control(self) -> None:
        """Start and end shadows as the control log says."""
        head = self._stores.ledger.head(CONTROL_LOG)
        if (head.size, head.root) == self._seen and not self._waiting:
            return
        self._seen, self._stories = (head.size, head.root), stories_of(self._stores.ledger, head.size)
        self._waiting = False
        for number, measure in enumerate(self.region.measures):
            story = self._story(measure)
            champion = b"" if self._is_held() else story.champion
            self._want(number, TRIAL, story.challenger, champion)
            for role, model in zip((WATCH, ANCHOR), watched_by(story), strict=True):
                self._want(number, role, b"" if (measure, model, champion) in self._ended else model, champion)

    def _want(self, number: int, role: str, model: bytes, champion: bytes) -> None:
        measure = self.region.measures[number]
        running = self._shadows.get((measure, role))
        if running is not None and (running.model, running.against) != (model, champion):
            del self._shadows[measure, role]
            running = None
        if running is None and not model and self._kept is not None:
            self._kept.drop(self._name(measure, role))  # also one of a learner before this
        if running is None and model:
            try:
                found = self._kept_shadow(number, role, model, champion) or self._new_shadow(number, model, champion)
            except (NotFound, DamagedError, ContractError) as unusable:
                if model not in self._unusable:
                    log.warning("region %s, %s: no %s of model %s: %s", self.region.id, measure, role, model.hex()[:12], unusable)
                self._unusable.add(model)
                return
            if found is not None:
                if role == WATCH:
                    self._go_on(measure, found)
                self._shadows[measure, role], self.unsaved = found, True

    def _go_on(self, measure: str, watch: Running) -> None:
        """Let the watch of a refit on probation begin with the losses of its trial; a new learner, which has none, begins anew."""
        trial = self._passed.pop(measure, None)
        if trial is not None and (trial.against, trial.model) == (watch.model, watch.against) and on_probation(self._story(measure)):
            watch.shadow.losses = trial.shadow.losses.turned()

    def _new_shadow(self, number: int, model: bytes, champion: bytes) -> Running | None:
        if self._stores.ledger.entry(self._log, SlotClosed) is None:
            self._waiting = True
            return None
        state = self._fold_at.arrays(self.size)
        version = self._control.latest().fold_version(self._boot, int(state["next_slot"][0]))
        shadow = Shadow(self.region, number, self._stores.blobs.get(model), state, version, self._day_slots, self._fairness())
        return Running(model, champion, shadow)

    def _kept_shadow(self, number: int, role: str, model: bytes, champion: bytes) -> Running | None:
        """The shadow of an earlier run, brought up to date; None if there is none of this model, champion and log."""
        measure = self.region.measures[number]
        kept = self._kept.load(self._name(measure, role)) if self._kept is not None else None
        if kept is None:
            return None
        try:
            return self._resumed(number, kept, model, champion)
        except (KeyError, ValueError, IndexError, TypeError) as odd:  # kept by another version, or not by a learner
            log.warning("region %s, %s: the kept %s cannot be used, so it starts again: %r", self.region.id, measure, role, odd)
            return None

    def _resumed(self, number: int, kept: Arrays, model: bytes, champion: bytes) -> Running | None:
        measure = self.region.measures[number]
        if (kept["model"].tobytes(), kept["against"].tobytes()) != (model, champion):
            return None
        if any(f"history{i}.slots" not in kept for i in range(len(self.region.measures))):
            return None  # kept by a version whose features saw one measure only
        size = int(kept["size"][0])
        if size > self.size or self._stores.ledger.root_at(self._log, size) != kept["root"].tobytes():
            return None
        fairness = self._fairness()
        if fairness is not None and not fairness.continues(under(kept, FAIRNESS)):
            return None  # kept with other areas
        shadow = Shadow(
            self.region,
            number,
            self._stores.blobs.get(model),
            kept,
            self._control.latest().fold_version(self._boot, int(kept["next_slot"][0])),
            self._day_slots,
            fairness,
        )
        shadow.resume(kept)
        running = Running(model, champion, shadow)
        up_to_date = all(self._step(running, close, measure) for close in closes(self._stores.ledger, self._log, size, self.size))
        return running if up_to_date else None

    def _fairness(self) -> PairedFairness | None:
        """Compares the classes of the region's areas, if it has any; they are read when a trial begins."""
        self._areas_fault = ""
        try:
            areas = areas_of(self.region, self._stores.settings.home)
        except UsageError as wrong:
            self._areas_fault = str(wrong)
            log.warning("region %s: no challenger is promoted, since fairness cannot be judged: %s", self.region.id, wrong)
            return None
        return PairedFairness(self.region, areas) if areas is not None else None

    # --- what follows ------------------------------------------------------------------------------

    def _judge(self, number: int, measure: str, until_slot: int) -> None:
        for role in (WATCH, ANCHOR, TRIAL):
            running, story = self._shadows.get((measure, role)), self._story(measure)
            if running is None or story.held is not None or self._is_held():
                continue
            try:
                trial = trial_of(self._stores, self.region, running, until_slot, self._clock)
            except (NotFound, DamagedError) as gone:
                log.warning("region %s, %s: the %s is not judged: %s", self.region.id, measure, role, gone)
                continue
            probation = on_probation(story) if role == WATCH else None
            if probation is not None:
                end_probation(self._stores, story, running.model, judge_probation(trial, probation, self.promotion, self.refits))
            elif role != TRIAL:  # a champion from before may always come back, whatever its fairness
                self._end_watch(measure, role, running, judge(trial, self.promotion))
            else:
                trial = replace(trial, verdicts=fairness_of(running, self._areas_fault))
                refit = refit_of(self._stores, story, self._day_slots, self.refits)
                verdict = judge(trial, self.promotion) if refit is None else judge_refit(trial, refit, self.promotion, self.refits)
                self._end_trial(measure, running, verdict, until_slot // self._day_slots)
            self._follow_control()

    def _end_trial(self, measure: str, running: Running, verdict: Verdict, today: int) -> None:
        story, outcome = self._story(measure), verdict.outcome
        if outcome is Outcome.WAIT or (outcome is Outcome.PROMOTE and not may_promote(self._history(today), self._rules())):
            return
        if outcome is Outcome.PROMOTE:
            if verdict.category == Category.REFIT and (measure, WATCH) in self._shadows and on_probation(story) is not None:
                return  # it would take the place of the champion before, by which the refit on probation is judged
            self._passed[measure] = running
        end, done = (promote_by_gates, "promoted") if outcome is Outcome.PROMOTE else (reject_by_gates, "rejected")
        if end(self._stores, story, reason=verdict.reason, evidence=verdict.gates, category=verdict.category):
            log.info("region %s, %s: %s %s: %s", self.region.id, measure, done, running.model.hex()[:12], verdict.reason)

    def _end_watch(self, measure: str, role: str, running: Running, verdict: Verdict) -> None:
        """Roll back if the champion before is better by the gates; stop watching when it is worse, or after the longest time."""
        if verdict.outcome is Outcome.PROMOTE:
            reason = f"the champion {'before' if role == WATCH else 'before its refits'} is better: {verdict.reason}"
            if roll_back_by_gates(self._stores, self._story(measure), running.model, reason=reason, evidence=verdict.gates):
                log.warning("region %s, %s: rolled back to %s: %s", self.region.id, measure, running.model.hex()[:12], reason)
        elif verdict.outcome is Outcome.REJECT:
            self._ended.add((measure, running.model, running.against))
            del self._shadows[measure, role]

    def _train_if_due(self, today: int) -> None:
        if self._refused_day == today or any(self._story(measure).held is not None for measure in self.region.measures):
            return
        wanted = due(self._history(today), self._rules())
        if wanted is None:
            return
        log.info("region %s: training: %s", self.region.id, wanted.reason)
        self._on_training(wanted.reason)
        try:
            train_region(
                self._stores,
                self.region,
                promote=False,
                trigger=f"{wanted.trigger}: {wanted.reason}",
                most_rows=self._most_rows,
                on_progress=self._progress,
            )
        except UsageError as short:
            log.warning("region %s: %s", self.region.id, short)
            self._refused_day = today

    def _progress(self, stage: str, share: float) -> None:
        self._beat()
        self._on_part(share)

    def _history(self, today: int) -> History:
        """What the policy decides from, at the end of the day before."""
        ledger, rules = self._stores.ledger, self.retraining
        stories = [self._story(measure) for measure in self.region.measures]
        week_ago = ledger.find(self._log, SlotClosed, (today - DAYS_A_WEEK) * self._day_slots)
        before = week_ago.control_size if week_ago is not None else 0
        from_slot = max(self._boot.start_slot, (today - rules.reference_days - rules.recent_days) * self._day_slots)
        first = ledger.entry(self._log, SlotClosed, from_slot)
        scores = [] if first is None else [found.record for found in ledger.scan(self._log, first.index, self.size, SlotScored)]
        trained = [model.trained.until_slot for story in stories for model in story.models.values() if model.trained is not None]
        return History(
            days=day_scores(scores, self._day_slots, today),
            today=today,
            trained_day=max(trained) // self._day_slots if trained else None,
            drift=drift_since(stories, scores, self._bands, self._day_slots, from_slot, today),
            trainings=max(sum(model.trained_index >= before for model in story.models.values()) for story in stories),
            promotions=max(promotions_since(story, before) for story in stories),
        )

    def _rules(self) -> RetrainingRules:
        """The rules, but for what parameters of the region say now."""
        return retraining_rules(self._control.latest().parameters, self.region.id, self.retraining)

    def _story(self, measure: str) -> MeasureStory:
        return self._stories.get((self.region.id, measure)) or MeasureStory(self.region.id, measure)

    def _is_held(self) -> bool:
        """Whether the region is served without models: its fold failed with one, or a parameter says so."""
        control = self._control.latest()
        return self.region.id in control.held or models_off(control.parameters, self.region.id)

    def _name(self, measure: str, role: str) -> str:
        return f"{self.region.id}.{measure}.{role}"
