"""The Keras/JAX learner: whole epochs in one call, rows on the device."""
