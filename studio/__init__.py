"""The studio: a local web application over the data root, for the people who read, judge and compare conversations."""
