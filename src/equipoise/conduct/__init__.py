"""How it is carried out: one file per verb. Read facts, call pure chapters, append facts."""
