"""The evaluation: a model beside its base, on personas that neither has seen."""
