"""One look at two arms: the difference of an outcome, with an interval that agrees with its test."""
