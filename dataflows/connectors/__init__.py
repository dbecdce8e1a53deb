"""The ends: Kafka, files, trips, rejects. Nothing here knows what a forecast is made of."""
