"""Ports over one MQTT 5 connection (docs/mqtt.md); paho is imported here alone."""
