"""Files of examples as streams of rows: what trainers train on, and models are measured on."""
