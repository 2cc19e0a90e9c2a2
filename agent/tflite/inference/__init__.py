"""A flatbuffer for inference: float32 or int8, layers fused."""
