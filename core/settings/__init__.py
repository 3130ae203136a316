"""Settings: all numbers and choices that settings files may contain, with their units and bounds."""
