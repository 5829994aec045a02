"""Which of several rankers people prefer, by what they click in one list of all."""
