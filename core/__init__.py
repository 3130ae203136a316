"""The rules: plain typed Python that knows neither Prefect nor a vendor."""
