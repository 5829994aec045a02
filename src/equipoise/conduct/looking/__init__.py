"""What a look stands on: what it is computed from, what it lacks, what came after it, when the next one is due."""
