"""Blocks over MQTT: pushed to followers, asked for by name, answered once (adr 23)."""
