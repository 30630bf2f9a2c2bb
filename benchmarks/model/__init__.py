"""What roofline.py shows: the model of a training step, and its figure."""
