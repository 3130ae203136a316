"""Language models: the interface to them, their limits, their prices and the bill."""
