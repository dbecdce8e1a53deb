"""The models that serve a region at a slot: those that the control log names, if they can be used; else those that stand in.

A run finds out whether an artefact can be used; the issue records it. Folding a slot again, for a resume, a replay or an
explanation, takes what was found from the record, so that the result does not depend on what is stored by then.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ledger.store.blobs import Blobs, Retention
from ledger.store.log import Ledger, Stored
from ledger.views.champions import Artefacts
from ledger.views.closes import Close
from ledger.views.control import Control
from ledger.views.regions import bootstrap_of, defined_by
from schemas.errors import ContractError, DamagedError, NotFound, StoreUnavailable
from schemas.records.records import CONTROL_LOG, ForecastIssued, ModelTrained, Record, RegionBootstrapped
from state.decide.parameter_table import models_off
from state.demand.tables import newest_table
from state.forecast.arms import blaming
from state.forecast.region import Champion
from state.forecast.routes import CHALLENGER, ROUTED_SINCE, Fault, Role, Route, Why, choose, recorded_challenger, recorded_fault, scope_of
from state.models.table import load_trained

log = logging.getLogger(__name__)

SLOW_SLOTS = 12  # how long a model that was too slow is not used
SLOT_MIN = "slot_min"  # parameter of a global model: length of the slots that it was trained on


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a check found of a model: why it cannot be used, None if it can."""

    why: Why | None


class Router:
    """Chooses the models of one region.

    Args:
        ledger, blobs: Open stores.
        boot: The region's bootstrap record.
    """

    def __init__(self, ledger: Ledger, blobs: Blobs, boot: RegionBootstrapped) -> None:
        self._ledger, self._blobs, self._boot = ledger, blobs, boot
        self.region = defined_by(boot)
        self._artefacts = Artefacts(blobs)
        self._fits: dict[tuple[Role, bytes, int], _Seen] = {}
        self._slow: dict[bytes, int] = {}  # digest -> first slot at which it may serve again
        self._said: dict[tuple[str, Role], Why] = {}
        self._said_of_challengers: dict[str, str] = {}

    def live(self, control: Control, slot: int) -> dict[str, Champion]:
        """Measure -> the model that serves a slot that closes now; what cannot be used is logged when it is first seen.

        Raises:
            NotFound, DamagedError, ContractError: a champion cannot be used, under a version of the fold that knows no other models.
            ArmFailed: the challenger of an experiment raises when it is loaded.
        """

        version = control.fold_version(self._boot, slot)

        def fault(role: Role, digest: bytes) -> Why | None:
            return Why.SLOW if slot < self._slow.get(digest, slot) else self._fault(role, digest, version)

        if not self._routes(control, slot):
            return self._champions(control)
        routes = {measure: self._route(control, measure, fault) for measure in self.region.measures}
        self._report(routes, slot)

        def fault_of_challenger(measure: str, digest: bytes) -> Why | None:
            with blaming(control.experiments.get((self.region.id, measure)), version):
                return fault(Role.CHAMPION, digest)

        champions = self._read(control, routes, fault_of_challenger)
        self._report_challengers(control, champions)
        return champions

    def recorded(self, control: Control, close: Close) -> dict[str, Champion]:
        """Measure -> the model that served a recorded slot.

        Raises:
            NotFound, DamagedError, StoreUnavailable: the artefact of a model that served cannot be read now.
        """
        if not self._routes(control, close.record.slot):
            return self._champions(control)
        found = issues_of(close.after)
        nothing: Fault = lambda role, digest: None  # noqa: E731 (a slot whose issue is not recorded yet)
        faults = {measure: recorded_fault(found[measure]) if measure in found else nothing for measure in self.region.measures}
        routes = {measure: self._route(control, measure, fault) for measure, fault in faults.items()}
        return self._read(control, routes, lambda measure, digest: recorded_challenger(found.get(measure)))

    def kept(self, named: Mapping[str, bytes]) -> dict[str, Champion]:
        """Measure -> the model that a snapshot names; one that cannot be read is left out, since the next slot chooses anew."""
        found = {}
        for measure, digest in named.items():
            try:
                found[measure] = Champion(digest, self._artefacts.get(digest))
            except (NotFound, DamagedError) as cause:
                log.warning("region %s, %s: %s", self.region.id, measure, cause)
        return found

    def mend(self) -> None:
        """Store the artefacts in use again if they are gone: what they serve could not be replayed without them."""
        for digest, artefact in self._artefacts.held().items():
            if not self._blobs.has(digest):
                log.warning("region %s: the artefact of model %s is gone; stored it again", self.region.id, digest.hex()[:12])
                self._blobs.put(artefact, Retention.MODEL)

    def too_slow(self, digests: Iterable[bytes], slot: int, spent_s: float, budget_s: float) -> None:
        """Do not use these models for the next slots: the forecast of a slot took longer than its budget."""
        for digest in digests:
            log.warning(
                "region %s: the forecast of slot %d took %.1f s of processor time, more than %.1f s; model %s is not used for %d slots",
                self.region.id,
                slot,
                spent_s,
                budget_s,
                digest.hex()[:12],
                SLOW_SLOTS,
            )
            self._slow[digest] = slot + 1 + SLOW_SLOTS

    def _routes(self, control: Control, slot: int) -> bool:
        return control.fold_version(self._boot, slot) >= ROUTED_SINCE

    def _champions(self, control: Control) -> dict[str, Champion]:
        if models_off(control.parameters, self.region.id):
            return {}
        return {measure: Champion(*found) for measure, found in self._artefacts.in_force(control, self.region).items()}

    def _route(self, control: Control, measure: str, fault: Fault) -> Route:
        scopes = {role: scope_of(role, self.region.id, self.region.parent) for role in Role}
        named = {
            role: control.champions.get((scope, measure), b"")
            for role, scope in scopes.items()
            if scope and scope not in control.held and not models_off(control.parameters, scope)
        }
        without = Why.HELD if self.region.id in control.held else Why.OFF if models_off(control.parameters, self.region.id) else None
        return choose(named, fault=fault, without=without)

    def _read(self, control: Control, routes: Mapping[str, Route], fault: Callable[[str, bytes], Why | None]) -> dict[str, Champion]:
        """The artefacts of some routes, and the experiments beside those of champions.

        Args:
            fault: Why the challenger of a measure, with this digest, cannot be used; None if it can.
        """
        found, used = {}, set()
        for measure, route in routes.items():
            started, skipped, challenge = control.experiments.get((self.region.id, measure)), dict(route.skipped), None
            if started is not None and (route.role, route.digest) == (Role.CHAMPION, started.champion):
                why = fault(measure, started.challenger)
                if why is None:
                    challenge = started, self._artefacts.get(started.challenger)
                    used.add(started.challenger)
                else:
                    skipped[CHALLENGER] = str(why)
            artefact = self._artefacts.get(route.digest) if route.digest else b""
            used.add(route.digest)
            found[measure] = Champion(route.digest, artefact, route.role, skipped, challenge)
        self._artefacts.keep_only(used)
        return found

    def _fault(self, role: Role, digest: bytes, version: int) -> Why | None:
        """Why a model cannot be used; None if it can. What depends on the store is asked again at every slot."""
        try:
            artefact = self._artefacts.get(digest)
        except NotFound:
            return Why.MISSING
        except DamagedError:
            return Why.DAMAGED
        except StoreUnavailable:
            return Why.UNREADABLE
        place = role, digest, version
        if place not in self._fits:
            self._fits[place] = _Seen(self._misfit(role, digest, artefact, version))
        return self._fits[place].why

    def _misfit(self, role: Role, digest: bytes, artefact: bytes, version: int) -> Why | None:
        try:
            trained = load_trained(artefact, self.region.horizons)
        except DamagedError as cause:
            log.warning("region %s: model %s: %s", self.region.id, digest.hex()[:12], cause)
            return Why.DAMAGED
        except ContractError as cause:
            log.warning("region %s: model %s: %s", self.region.id, digest.hex()[:12], cause)
            return Why.INCOMPATIBLE
        fits = trained.table.version <= newest_table(version).version and self._slot_min(role, digest) in (None, self.region.slot_min)
        return None if fits else Why.INCOMPATIBLE

    def _slot_min(self, role: Role, digest: bytes) -> int | None:
        """Length of the slots that a model was trained on; None if nothing says otherwise than the region's."""
        if role is Role.PARENT and self.region.parent is not None:
            try:
                return defined_by(bootstrap_of(self._ledger, self.region.parent)).slot_min
            except NotFound:
                return None
        if role is Role.GLOBAL:
            for trained in self._ledger.records(CONTROL_LOG, ModelTrained):
                if trained.model == digest and SLOT_MIN in trained.parameters:
                    return int(trained.parameters[SLOT_MIN])
        return None

    def _report_challengers(self, control: Control, champions: Mapping[str, Champion]) -> None:
        """Log which challengers of experiments cannot be used, once."""
        now = {measure: why for measure, champion in champions.items() if (why := champion.skipped.get(CHALLENGER)) is not None}
        for measure, why in now.items():
            if self._said_of_challengers.get(measure) != why:
                started = control.experiments[self.region.id, measure]
                log.warning(
                    "region %s, %s: experiment %s: the challenger %s is %s; the champion serves every cell",
                    self.region.id,
                    measure,
                    started.experiment,
                    started.challenger.hex()[:12],
                    why,
                )
        self._said_of_challengers = now

    def _report(self, routes: Mapping[str, Route], slot: int) -> None:
        """Log what changed since the last slot."""
        now = {
            (measure, Role(role)): Why(why)
            for measure, route in routes.items()
            for role, why in route.skipped.items()
            if why not in (Why.NO_MODEL, Why.HELD, Why.OFF)
        }
        for (measure, role), why in now.items():
            if self._said.get((measure, role)) is not why:
                route = routes[measure]
                instead = f"the {route.role} model {route.digest.hex()[:12]} serves" if route.digest else "no trained model serves"
                log.warning("region %s, %s: from slot %d on, %s: the %s model is %s", self.region.id, measure, slot, instead, role, why)
        for measure, role in self._said.keys() - now.keys():
            log.warning("region %s, %s: from slot %d on, the %s model is usable again", self.region.id, measure, slot, role)
        self._said = now


def issues_of(after: Iterable[Stored[Record]]) -> dict[str, ForecastIssued]:
    """Measure -> the issue among the entries that result from a slot."""
    return {stored.record.measure: stored.record for stored in after if isinstance(stored.record, ForecastIssued)}
