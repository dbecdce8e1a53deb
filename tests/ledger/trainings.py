"""The record of a training, for tests that look only at which model it is of."""

from schemas.records.records import ModelTrained


def trained(model: bytes) -> ModelTrained:
    """The record of a training."""
    return ModelTrained(
        region="nyc",
        measure="pickups",
        model=model,
        algorithm="a",
        features=(),
        first_slot=0,
        until_slot=1,
        rows=1,
        data_digest=b"",
        parameters={},
        metrics={},
    )
