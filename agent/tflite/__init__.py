"""From a model definition to a TFLite program that trains: built here, from checked JSON alone.

No flatbuffer is ever received from another machine, and no TensorFlow is needed to write one.
"""
