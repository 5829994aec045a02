"""Several treatments or several metrics: what asking more than once costs."""
