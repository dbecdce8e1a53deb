"""Sources and sinks: Kafka, files, trips, rejects. Nothing here depends on how a forecast is made."""
