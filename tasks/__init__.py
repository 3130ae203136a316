"""The policy: retries, caching, limits, artifacts."""
