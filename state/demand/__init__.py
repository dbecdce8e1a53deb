"""What was counted: history, calendar, seasons, features."""
