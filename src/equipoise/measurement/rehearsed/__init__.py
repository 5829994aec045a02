"""Units that are drawn for a rehearsal, measured as a record is."""
