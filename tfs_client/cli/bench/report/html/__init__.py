"""The results as one HTML file: tables and charts without scripts and without requests."""
