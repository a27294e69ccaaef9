"""Attention of a small language model that was trained here, and what NumPy says of it as a canonical ensemble.

Makes reference/data/attention.safetensors (logits of two layers and the queries and keys of the first, as PyTorch saved them, in
singles) and reference/probe.json (means over queries of every head, by NumPy in doubles). Needs torch, safetensors, NumPy. A
minute on two cores. Run from the repository root:

    python reference/probe.py

The model: two layers, four heads, width 64, 64 characters of context, trained for 400 steps on the documentation that comes with
Python (pydoc's topics). What is saved is the attention of one window that it was not trained on.
"""

import json
import pydoc_data.topics

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from common import ROOT

CONTEXT, WIDTH, HEADS, LAYERS, STEPS, BATCH = 64, 64, 4, 2, 400, 16
NAMES = ["keys", "log_partition", "internal_energy", "entropy", "free_energy", "heat_capacity", "effective_keys", "participation"]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x, seen=None):
        batch, length, _ = x.shape
        parts = self.parts(self.norm(x)).view(batch, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        logits = query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
        logits = logits.masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf"))
        if seen is not None:
            seen.append((query, key, logits))
        read = (torch.softmax(logits, -1) @ value).transpose(1, 2).reshape(batch, length, WIDTH)
        return x + self.out(read)


class Model(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.token, self.place = nn.Embedding(vocabulary, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.attention = nn.ModuleList(Attention() for _ in range(LAYERS))
        network = lambda: nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.networks = nn.ModuleList(network() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, vocabulary)

    def forward(self, tokens, seen=None):
        x = self.token(tokens) + self.place.weight[: tokens.shape[1]]
        for attention, network in zip(self.attention, self.networks):
            x = attention(x, seen)
            x = x + network(x)
        return self.head(x)


def trained():
    torch.manual_seed(1)
    text = "\n".join(text for _, text in sorted(pydoc_data.topics.topics.items()))
    letters = sorted(set(text))
    tokens = torch.tensor([letters.index(letter) for letter in text])
    train, held = tokens[: len(tokens) * 9 // 10], tokens[len(tokens) * 9 // 10 :]
    model = Model(len(letters))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(STEPS):
        starts = torch.randint(len(train) - CONTEXT - 1, (BATCH,))
        windows = torch.stack([train[s : s + CONTEXT + 1] for s in starts])
        loss = nn.functional.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.3f}")
    return model, held[None, :CONTEXT]


def observables(energies, temperature):
    """Means over queries, with all exponentials and sums in doubles. Keys that are not read have infinite energies."""
    rows = []
    for energy in energies:
        energy = energy[np.isfinite(energy)]
        least = energy.min()
        weights = np.exp(-(energy - least) / temperature)
        p = weights / weights.sum()
        log_partition = np.log(weights.sum()) - least / temperature
        mean = (p * energy).sum()
        entropy = -(p[p > 0] * np.log(p[p > 0])).sum()
        capacity = (p * (energy - mean) ** 2).sum() / temperature**2
        rows.append([len(energy), log_partition, mean, entropy, -temperature * log_partition, capacity, np.exp(entropy), 1 / (p**2).sum()])
    scores = -energies[np.isfinite(energies)] / temperature
    return dict(zip(NAMES, np.mean(rows, axis=0))) | {"pooled_variance": scores.var()}


def main():
    model, window = trained()
    seen = []
    with torch.no_grad():
        model(window, seen)
    arrays = {f"layers.{layer}.logits": logits[0].contiguous() for layer, (_, _, logits) in enumerate(seen)}
    query, key, _ = seen[0]
    arrays |= {"layers.0.query": query[0].contiguous(), "layers.0.key": key[0].contiguous()}
    save_file(arrays, ROOT / "reference/data/attention.safetensors")
    logits = {
        f"layers.{layer}.logits": [observables(-head.double().numpy(), 1.0) for head in logits[0]]
        for layer, (_, _, logits) in enumerate(seen)
    }
    temperature = (WIDTH // HEADS) ** 0.5
    products = -(query[0].double().numpy() @ key[0].double().numpy().transpose(0, 2, 1))
    products[:, np.triu(np.ones((CONTEXT, CONTEXT), bool), 1)] = np.inf
    pairs = [observables(head, temperature) for head in products]
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    found = {"versions": versions, "logits": logits, "queries and keys": pairs}
    path = ROOT / "reference/probe.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
