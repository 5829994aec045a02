"""Data whose probabilities followed what came before: honest estimates, and what another policy would have earned."""
