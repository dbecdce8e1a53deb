"""What a person configures: settings, their table, values, bounds and sources; addresses, client properties, areas of a region."""
