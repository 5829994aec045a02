"""What live judging stands on: the turns that wait, what is drawn of them, what it costs."""
