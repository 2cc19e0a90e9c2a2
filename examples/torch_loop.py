"""A PyTorch model as a member: python torch_loop.py SWARM_OR_CODE, or alone, in a swarm of its own."""

import sys

import torch

import learnae

rows = torch.randn(400, 2)
classes = (rows.prod(dim=1) > 0).long()
model = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.BatchNorm1d(16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
optimiser = torch.optim.Adam(model.parameters(), lr=0.01)

swarm = sys.argv[1] if sys.argv[1:] else learnae.create_swarm("torch", parameters=model.state_dict(), codec="f32")
with learnae.join(swarm, name="torch", accept=["exact_frames", "foreign_start"]) as peer:
    model.load_state_dict(peer.weights(like=model.state_dict()))
    for epoch in range(300):
        loss = torch.nn.functional.cross_entropy(model.train()(rows[:300]), classes[:300])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        is_last = epoch == 299  # what comes too early is in the next update: the last one waits until it is due
        model.load_state_dict(peer.share(model.state_dict(), samples=300, wait=is_last))
    model.load_state_dict(peer.estimate(like=model.state_dict()))
right = (model.eval()(rows[300:]).argmax(dim=1) == classes[300:]).float().mean()
print(f"right: {right:.0%}")
