"""How far we dare: the stage of an experiment as pure state, folded from what was recorded."""
