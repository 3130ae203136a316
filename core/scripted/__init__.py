"""The scripted provider: every role played from fixed phrases."""
