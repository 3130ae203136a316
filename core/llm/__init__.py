"""Language models: the one interface to them, their limits, their prices and the bill."""
