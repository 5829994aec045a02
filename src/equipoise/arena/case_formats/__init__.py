"""The forms in which golden cases come: our own, promptfoo's, Inspect's and MLflow's."""
