"""MLflow against the ledger: versions of every recorded training, their runs and artefacts, tags, and the two aliases.

A registered model, or a version, that names another ledger is that ledger's, and is left alone; so are experiments and models that no
training of this ledger names.
"""

from collections.abc import Callable, Sequence

from dataflows.connectors.registered import RegisteredModel, RegisteredVersion, Registry, is_ours, open_registry
from dataflows.connectors.tracking import log_of
from dataflows.jobs.promoting import all_stories
from dataflows.jobs.retrack import log_size_of, log_training
from dataflows.stream.stores import Stores
from ledger.store.log import Stored
from ledger.views.identity import identity_of
from ledger.views.reconcile.differences import Compared, Difference, PlaceName, Reason
from schemas.records.records import CONTROL_LOG, ModelTrained
from schemas.regions import Region
from state.forecast.routes import GLOBAL_SCOPE

SHOWN = 12  # hexadecimal digits
NONE = "none"
Repair = Callable[[Registry], None]


class RegistryPlace:
    """The models of some regions in MLflow, and those of several regions.

    Args:
        on_step: Called with how many of how many models are compared.
    """

    name = PlaceName.REGISTRY

    def __init__(self, stores: Stores, regions: Sequence[Region], on_step: Callable[[int, int], None] = lambda done, total: None) -> None:
        self._stores, self._on_step = stores, on_step
        self._wanted = {region.id for region in regions} | {GLOBAL_SCOPE}
        self._repairs: dict[str, Repair] = {}

    def compare(self) -> Compared:
        self._repairs = {}
        trained: dict[tuple[str, str], dict[str, Stored[ModelTrained]]] = {}
        for entry in self._stores.ledger.scan(CONTROL_LOG, kind=ModelTrained):
            trained.setdefault((entry.record.region, entry.record.measure), {})[entry.record.model.hex()] = entry
        stories = {place: story for place, story in all_stories(self._stores).items() if place[0] in self._wanted}
        differences: list[Difference] = []
        notes: list[str] = []
        checked = 0
        with open_registry(self._stores.settings) as registry:
            for done, (place, story) in enumerate(sorted(stories.items())):
                name = ".".join(place)
                model = registry.model(name) if registry is not None else None
                if model is not None and is_ours(self._stores.ledger, place[0], model.tag) is False:
                    notes.append(f"the registered model {name} is of another ledger: left alone")
                    continue
                entries = trained.get(place, {})
                if registry is not None and model is not None:
                    differences += self._versions(registry, place[0], name, model, entries)
                    checked += len(model.versions)
                differences += self._missing(place[0], name, model, entries)
                aliases = {"champion": story.champion.hex(), "challenger": story.challenger.hex()}
                differences += self._aliases(place[0], name, model, aliases)
                self._on_step(done + 1, len(stories))
        return Compared(tuple(differences), checked, len(stories), len({one.key.partition(" ")[0] for one in differences}), tuple(notes))

    def repair(self, found: Sequence[Difference]) -> None:
        """Write runs and versions first; aliases are compared again after them, because they may name new versions."""
        chosen = {one.key for one in found}
        aliases = {key for key in chosen if " alias " in key}
        self._repair(chosen - aliases)
        models = {key.partition(" ")[0] for key in chosen}
        again = {one.key for one in self.compare().differences if " alias " in one.key and one.key.partition(" ")[0] in models}
        self._repair(again)

    def _repair(self, chosen: set[str]) -> None:
        with open_registry(self._stores.settings) as registry:
            for key, repair in self._repairs.items():
                if key in chosen:
                    repair(registry)  # type: ignore[arg-type]  # trainings are logged by a client of their own

    def _versions(
        self, registry: Registry, region: str, name: str, model: RegisteredModel, entries: dict[str, Stored[ModelTrained]]
    ) -> list[Difference]:
        """Tags, runs and artefacts of the versions that a training of this ledger has."""
        found: list[Difference] = []

        def differs(key: str, reason: Reason, expected: str, got: str, repair: Repair) -> None:
            found.append(Difference(self.name, region, key, reason, expected, got))
            self._repairs[key] = repair

        ours = [version for version in model.versions if version.model in entries]
        if ours and is_ours(self._stores.ledger, region, model.tag) is None:
            newest = self._tag(region, entries[ours[-1].model])
            reason = Reason.CHANGED if model.tag else Reason.MISSING
            differs(f"{name} tag", reason, newest, model.tag[:80] or NONE, lambda registry: registry.tag_model(name, newest))
        for version in ours:
            self._version(registry, region, name, version, entries[version.model], differs)
        return found

    def _version(
        self,
        registry: Registry,
        region: str,
        name: str,
        version: RegisteredVersion,
        entry: Stored[ModelTrained],
        differs: Callable[[str, Reason, str, str, Repair], None],
    ) -> None:
        key, tag = f"{name} version {version.number}", self._tag(region, entry)
        if not version.run:
            differs(
                f"{key} run",
                Reason.MISSING,
                f"a run of {version.model[:SHOWN]}",
                "none",
                lambda registry: registry.remove_version(name, version),
            )
            return
        if is_ours(self._stores.ledger, region, version.tag) is not True:
            reason = Reason.CHANGED if version.tag else Reason.MISSING
            differs(f"{key} tag", reason, tag, version.tag[:80] or NONE, lambda registry: registry.tag_version(name, version, tag))
        if version.deleted:
            differs(f"{key} run", Reason.MISSING, "an active run", "a deleted one", lambda registry: registry.restore_run(version))
            return
        if is_ours(self._stores.ledger, region, version.run_tag) is not True:
            reason = Reason.CHANGED if version.run_tag else Reason.MISSING
            differs(f"{key} run tag", reason, tag, version.run_tag[:80] or NONE, lambda registry: registry.tag_run(version, tag))
        if self._stores.blobs.has(entry.record.model):
            digest = registry.artefact_digest(version)
            if digest != version.model:
                reason = Reason.CHANGED if digest else Reason.MISSING
                got = digest[:SHOWN] or NONE
                data = self._stores.blobs.get
                differs(
                    f"{key} artefact",
                    reason,
                    version.model[:SHOWN],
                    got,
                    lambda registry: registry.put_artefact(version, data(entry.record.model)),
                )

    def _missing(self, region: str, name: str, model: RegisteredModel | None, entries: dict[str, Stored[ModelTrained]]) -> list[Difference]:
        """Trainings without a version."""
        known = {version.model for version in model.versions if version.run} if model is not None else set()
        found = []
        for digest, entry in entries.items():
            if digest not in known:
                key = f"{name} training {digest[:SHOWN]}"
                found.append(Difference(self.name, region, key, Reason.MISSING, "a version", NONE))
                self._repairs[key] = lambda registry, entry=entry: log_training(self._stores, entry)  # type: ignore[misc]
        return found

    def _aliases(self, region: str, name: str, model: RegisteredModel | None, aliases: dict[str, str]) -> list[Difference]:
        """Each alias names the newest version of its model, or none."""
        found = []
        newest = {version.model: version.number for version in model.versions} if model is not None else {}
        for alias, digest in aliases.items():
            wanted, got = newest.get(digest, 0), model.aliases.get(alias, 0) if model is not None else 0
            if wanted != got:
                key = f"{name} alias {alias}"
                reason = Reason.MISSING if not got else Reason.CHANGED if wanted else Reason.ADDED
                words = [f"version {number}" if number else NONE for number in (wanted, got)]
                found.append(Difference(self.name, region, key, reason, words[0], words[1]))
                self._repairs[key] = lambda registry, alias=alias, wanted=wanted: registry.set_alias(name, alias, wanted)  # type: ignore[misc]
        return found

    def _tag(self, region: str, entry: Stored[ModelTrained]) -> str:
        return identity_of(self._stores.ledger, log_of(region), log_size_of(entry)).text()
