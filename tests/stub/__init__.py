"""A server on the loopback interface that speaks the wire protocols of LLM providers, for tests and benchmarks."""
