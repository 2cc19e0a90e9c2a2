"""SenML (RFC 8428) in and out."""
