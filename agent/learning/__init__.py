"""From the sample buffer to a trained peer: collector, TFLite learner, governor, inference, statistics only."""
