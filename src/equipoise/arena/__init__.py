"""The offline gate: golden cases × variants × scoring → pass, fail, inconclusive or invalid."""
