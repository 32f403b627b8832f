"""The studio: one web application to look at runs, data and predictions."""
