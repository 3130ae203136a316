"""The rules of the product: plain typed Python that imports neither Prefect nor a vendor's SDK."""
