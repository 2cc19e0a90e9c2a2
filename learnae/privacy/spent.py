"""What has been spent of differential privacy, as updates, status and model cards say it."""

from learnae.protocol.bodies import PRIVATE_SAMPLES, READING, UNITS, WINDOW, PrivacySpent

__all__ = ["PRIVATE_SAMPLES", "READING", "UNITS", "WINDOW", "PrivacySpent"]
