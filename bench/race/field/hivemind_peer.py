"""A hivemind peer: local steps, averaged when all together have passed over all rows. Argument: the peer's number."""

import sys
import time

import hivemind
import torch
import work

_ADDRESS = work.HOME / "address"


def network(inputs: int) -> torch.nn.Sequential:
    """Return the race's network with the weights that all start from."""
    net = torch.nn.Sequential(
        torch.nn.Linear(inputs, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)
    )
    start, place = torch.from_numpy(work.start()), 0
    with torch.no_grad():
        for layer in net[::2]:
            for array, shape in ((layer.weight, layer.weight.T.shape), (layer.bias, layer.bias.shape)):
                part = start[place : place + array.numel()].reshape(shape)
                array.copy_(part.T if part.dim() == 2 else part)
                place += array.numel()
    return net


def weights(net: torch.nn.Sequential) -> torch.Tensor:
    """Return all weights as the race has them."""
    return torch.cat([part.detach().ravel() for layer in net[::2] for part in (layer.weight.T, layer.bias)])


def main(number: int) -> None:
    """Train until all have passed over all rows so often."""
    torch.set_num_threads(1)
    worker = work.Worker(number)
    x, y = torch.from_numpy(worker.x), torch.from_numpy(worker.y)
    dht = hivemind.DHT(host_maddrs=["/ip4/127.0.0.1/tcp/0"], initial_peers=_first(number), start=True)
    if number == 0:
        _ADDRESS.with_suffix(".part").write_text(str(dht.get_visible_maddrs()[0]))
        _ADDRESS.with_suffix(".part").rename(_ADDRESS)
    net, loss = network(x.shape[1]), torch.nn.BCEWithLogitsLoss()
    optimiser = hivemind.Optimizer(
        dht=dht, run_id="race", batch_size_per_step=work.BATCH, target_batch_size=worker.rows * work.PEERS,
        params=net.parameters(), optimizer=lambda params: torch.optim.Adam(params, lr=1e-3, eps=1e-7),
        use_local_updates=True, matchmaking_time=3.0, averaging_timeout=30.0,
    )  # fmt: skip
    generator, done = torch.Generator().manual_seed(number), 0
    while done < work.ROUNDS:
        chosen = torch.randint(0, len(x), (work.BATCH,), generator=generator)
        optimiser.zero_grad()
        loss(net(x[chosen]), y[chosen]).backward()
        optimiser.step()
        if optimiser.local_epoch > done:
            done = optimiser.local_epoch
            work.save(number, done, weights(net).numpy())
    time.sleep(15)  # others may still average
    optimiser.shutdown()
    dht.shutdown()


def _first(number: int) -> list[str]:
    if number == 0:
        return []
    while not _ADDRESS.exists():
        time.sleep(0.1)
    return [_ADDRESS.read_text()]


if __name__ == "__main__":
    main(int(sys.argv[1]))
