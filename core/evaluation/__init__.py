"""The evaluation: a comparison of a model with its base, on personas that neither has seen."""
