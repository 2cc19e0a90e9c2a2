"""A page in the browser about a peer of this machine, and its figures for Prometheus (docs/dashboard.md)."""
