"""The dataset: which transcripts are trained on, repaired, sliced into examples and audited."""
