"""Write down what a swarm has: models, blocks, anchors."""
