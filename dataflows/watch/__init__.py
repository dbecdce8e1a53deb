"""What watches: follows logs, lets detectors see their records, and appends signals and alerts."""
