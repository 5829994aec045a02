"""Who sees what: a unit's variant is a pure function of the experiment's salt and the unit's name."""
