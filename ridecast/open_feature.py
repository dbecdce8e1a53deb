"""A provider for the OpenFeature SDK of Python that evaluates the flags of a home's ledger in this process, without the API.

Needs the extra `flags`. Every evaluation is made by the definitions that the control log had within the last `refresh_s` seconds.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

from dataflows.stream.stores import open_stores
from ledger.views.folded import Folded
from schemas.configuration.settings import Settings
from schemas.errors import StoreUnavailable
from schemas.records.records import CONTROL_LOG, FlagSet
from state.decide.flags import TARGETING_KEY, Code, Failed, Flag, Kind
from state.decide.known_flags import Flags, fold_flag, say

try:
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.exception import ErrorCode, FlagNotFoundError, GeneralError, OpenFeatureError, TypeMismatchError
    from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
    from openfeature.provider import AbstractProvider, Metadata
except ImportError as missing:
    raise ImportError("the OpenFeature SDK is not installed; install it with: pip install 'ridecast[flags]'") from missing

log = logging.getLogger(__name__)

Values = Sequence[FlagValueType] | Mapping[str, FlagValueType]


class HomeProvider(AbstractProvider):
    """Evaluates the flags of one home; close it with `shutdown`, as the SDK does.

    Args:
        settings: Name the home, and its database if it has one.
        refresh_s: How old the definitions may be.
        monotonic: Seconds.
    """

    def __init__(self, settings: Settings, *, refresh_s: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._stores = open_stores(settings, reading=True)
        self._refresh_s, self._monotonic, self._lock = refresh_s, monotonic, threading.Lock()
        self._log: Folded[Flags] = Folded(self._stores.ledger, CONTROL_LOG, dict, fold_flag, [FlagSet])
        self._flags: Flags | None = None  # before they were read
        self._read_s = float("-inf")
        self._stale = False

    def get_metadata(self) -> Metadata:
        """Its name."""
        return Metadata(name="Ridecast home")

    def shutdown(self) -> None:
        """Close the home."""
        self._stores.close()

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """A truth value."""
        return self._resolve(flag_key, (Kind.BOOLEAN,), evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """A text."""
        return self._resolve(flag_key, (Kind.STRING,), evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """A whole number."""
        return self._resolve(flag_key, (Kind.INTEGER,), evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """A number."""
        return self._resolve(flag_key, (Kind.FLOAT,), evaluation_context)

    def resolve_object_details(
        self, flag_key: str, default_value: Values, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Values]:
        """An object."""
        return self._resolve(flag_key, (Kind.OBJECT,), evaluation_context)

    def _resolve(self, key: str, kinds: tuple[Kind, ...], context: EvaluationContext | None) -> FlagResolutionDetails[Any]:
        flags, stale = self._latest()
        given: dict[str, object] = dict(context.attributes) if context is not None else {}
        if context is not None and context.targeting_key:
            given[TARGETING_KEY] = context.targeting_key
        found = say(flags, key, given)
        if isinstance(found, Failed):
            _refuse(found)
        known = flags[key]
        flag = cast(Flag, known.flag)  # else it says nothing
        if flag.kind not in kinds:
            raise TypeMismatchError(f"flag {key}: expected a flag of type {kinds[0]}, got one of type {flag.kind}")
        reason = Reason.STALE if stale else Reason(str(found.reason))
        return FlagResolutionDetails(
            found.value, variant=found.variant, reason=reason, flag_metadata={"log": CONTROL_LOG, "index": known.index}
        )

    def _latest(self) -> tuple[Flags, bool]:
        """The flags, and whether they may be older than they should be, because the ledger does not answer."""
        with self._lock:
            if self._flags is not None and self._monotonic() - self._read_s < self._refresh_s:
                return self._flags, self._stale
            try:
                self._flags, self._stale = self._log.latest(), False
            except StoreUnavailable as away:
                if self._flags is None:
                    raise GeneralError(str(away)) from away
                if not self._stale:
                    log.warning("flags are served as they were last read: %s", away)
                self._stale = True
            self._read_s = self._monotonic()
            return self._flags, self._stale


def _refuse(failed: Failed) -> NoReturn:
    if failed.code is Code.FLAG_NOT_FOUND:
        raise FlagNotFoundError(failed.details)
    raise OpenFeatureError(ErrorCode(str(failed.code)), failed.details)
