"""Trains a network to tell two spirals apart, every rank on its own share of the points.

Prints the loss every ten steps and, at the end, a digest of the weights: it is the same on every rank,
and the same whenever as many ranks train as many STEPS. PAUSE_MS waits after each step, to have the time
to look at it.
"""

import hashlib
import os
import time

import no_libuv  # noqa: F401
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

STEPS = int(os.environ.get("STEPS", "200"))
PAUSE_S = int(os.environ.get("PAUSE_MS", "0")) / 1000
POINTS = 512


def spirals(rank):
    """POINTS points of both spirals, others for each rank."""
    random = torch.Generator().manual_seed(1000 + rank)
    along = torch.rand(POINTS, generator=random).sqrt() * 3 * torch.pi
    label = torch.randint(0, 2, (POINTS,), generator=random).float()
    angle = along + torch.pi * label
    points = torch.stack([angle.cos() * along, angle.sin() * along], dim=1) / 10
    return points + 0.01 * torch.randn(POINTS, 2, generator=random), label


def main():
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    print(f"rank {rank} of {ranks} begins", flush=True)
    torch.manual_seed(7)
    layers = [torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1)]
    model = DistributedDataParallel(torch.nn.Sequential(*layers))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    points, label = spirals(rank)
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(points).squeeze(1), label)
        loss.backward()
        optimizer.step()
        if step == 1 or step % 10 == 0:
            print(f"rank {rank} of {ranks} step {step} loss {loss.item():.4f}", flush=True)
        time.sleep(PAUSE_S)
    weights = hashlib.sha256()
    for value in model.module.state_dict().values():
        weights.update(value.numpy().tobytes())
    print(f"rank {rank} of {ranks} weights sha256:{weights.hexdigest()}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
