"""Settings: every number and choice that a file may give, with its unit and bounds."""
