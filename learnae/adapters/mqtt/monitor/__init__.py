"""What a peer shows over MQTT, through an outbox on disk, and who reads it."""
