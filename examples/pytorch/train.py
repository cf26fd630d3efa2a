#!/usr/bin/env python3
"""Trains a small convolutional network on handwritten digits: souk's job for a GPU.

It reads /in/digits.csv.gz, keeps a fifth of the images aside, and trains on the
rest: on the GPU that was leased, or on the processor where there is none. Into
/out it writes, as it goes,

  metrics.jsonl   one line for each epoch: epoch, loss, accuracy, seconds, images_per_second
  checkpoint.pt   all that is needed to go on, replaced as a whole after every CHECKPOINT epochs
  model.pt        the network's weights at the end
  metrics.json    how well it does on what was kept aside, and what it ran on

A checkpoint that lies in /in is gone on from. SIGTERM, which a provider sends before it
takes its device back, ends the training after the epoch it is in, with a checkpoint.
"""

import csv
import gzip
import json
import os
import signal
import sys
import time

import torch
from torch import nn

SIDE, CLASSES, BRIGHTEST = 8, 10, 16
NAMES = ("EPOCHS", "CHECKPOINT", "CHANNELS", "BATCH", "SEED", "THREADS")


class Settings:
    """What the environment can change."""

    def __init__(self, env):
        defaults = {"EPOCHS": 20, "CHECKPOINT": 5, "CHANNELS": 32, "BATCH": 64, "SEED": 1, "THREADS": 1}
        for name in NAMES:
            text = env.get(name, str(defaults[name]))
            if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
                raise ValueError(f"{name}={text}: a whole number from 1 to 1000000 is needed")
            setattr(self, name.lower(), int(text))


def read_images(path):
    """The images as (n, 1, 8, 8) floats from 0 to 1, and their digits as (n,) integers."""
    with gzip.open(path, "rt") as lines:
        rows = [[float(field) for field in row] for row in csv.reader(lines)]
    if len(rows) < 10 or any(len(row) != SIDE * SIDE + 1 for row in rows):
        raise ValueError(f"{path}: lines of 64 pixels and a digit are needed, at least ten")
    table = torch.tensor(rows)
    return table[:, :-1].reshape(-1, 1, SIDE, SIDE) / BRIGHTEST, table[:, -1].long()


def network(channels):
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(2 * channels * (SIDE // 2) ** 2, 128), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(128, CLASSES))


def write(path, data):
    """Replaces a file as a whole: who reads it while the job runs never sees half."""
    with open(path + ".part", "wb") as f:
        f.write(data) if isinstance(data, bytes) else torch.save(data, f)
        f.flush()
        os.fsync(f.fileno())
    os.replace(path + ".part", path)


class Training:
    """The network, its optimiser and how far they are."""

    def __init__(self, settings, device):
        torch.manual_seed(settings.seed)
        torch.set_num_threads(settings.threads)
        self.device, self.batch, self.epoch = device, settings.batch, 0
        self.net = network(settings.channels).to(device)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-3)

    def resume(self, path):
        saved = torch.load(path, map_location="cpu")
        self.net.load_state_dict(saved["net"])
        self.optimiser.load_state_dict(saved["optimiser"])
        torch.set_rng_state(saved["chance"])
        self.epoch = saved["epoch"]

    def save(self, path):
        write(path, {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(),
                     "chance": torch.get_rng_state(), "epoch": self.epoch})

    def train(self, images, digits):
        """One epoch; returns the mean loss."""
        self.net.train()
        total = torch.zeros((), device=self.device)
        for chosen in torch.randperm(len(images)).split(self.batch):
            chosen = chosen.to(self.device)
            loss = nn.functional.cross_entropy(self.net(images[chosen]), digits[chosen])
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            total += loss.detach() * len(chosen)
        self.epoch += 1
        return total.item() / len(images)

    @torch.no_grad()
    def accuracy(self, images, digits):
        self.net.eval()
        return (self.net(images).argmax(1) == digits).float().mean().item()


def run(source, out, env):
    settings = Settings(env)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor"
    images, digits = read_images(os.path.join(source, "digits.csv.gz"))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(settings.seed))
    aside, rest = order[:len(order) // 5], order[len(order) // 5:]
    held, train = [(images[part].to(device), digits[part].to(device)) for part in (aside, rest)]

    job = Training(settings, device)
    checkpoint = os.path.join(source, "checkpoint.pt")
    if os.path.exists(checkpoint):
        job.resume(checkpoint)
    print(f"training on {name}: {len(rest)} images, {len(aside)} kept aside, "
          f"epochs {job.epoch + 1} to {settings.epochs}", flush=True)

    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append("stop"))
    loss, right = 0.0, job.accuracy(*held)
    with open(os.path.join(out, "metrics.jsonl"), "a") as log:
        while job.epoch < settings.epochs and not told:
            began = time.monotonic()
            loss = job.train(*train)
            took, right = time.monotonic() - began, job.accuracy(*held)
            print(json.dumps({"epoch": job.epoch, "loss": round(loss, 6), "accuracy": round(right, 6),
                              "seconds": round(took, 4), "images_per_second": round(len(rest) / took, 1)}),
                  file=log, flush=True)
            print(f"epoch {job.epoch:3}  loss {loss:.4f}  accuracy {right:.4f}", flush=True)
            if job.epoch % settings.checkpoint == 0 or told:
                job.save(os.path.join(out, "checkpoint.pt"))

    if told:
        print(f"told to stop: the checkpoint is of epoch {job.epoch}", flush=True)
    job.save(os.path.join(out, "checkpoint.pt"))
    write(os.path.join(out, "model.pt"), job.net.state_dict())
    write(os.path.join(out, "metrics.json"), json.dumps({
        "accuracy": right, "loss": loss, "epochs": job.epoch, "train": len(rest), "test": len(aside),
        "device": name, "torch": torch.__version__}).encode())


if __name__ == "__main__":
    try:
        run("/in", "/out", os.environ)
    except (OSError, ValueError) as e:
        sys.exit(f"digits: {e}")
