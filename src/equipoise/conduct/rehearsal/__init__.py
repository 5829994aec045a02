"""What a rehearsal is made of: what may be true, a run, the processes that do them, what was lost, what was found."""
