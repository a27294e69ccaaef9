"""Seconds a step of learning modular addition: PyTorch by itself, and beside the lab's.

    python bench/modular.py [--modulus 113] [--fraction 0.3] [--steps 40] [--threads 2] [--beside target/release/examples/modular_speed]

The lean model of the lab's `modular`: one query, tables of keys and values, the loss log1p(sum of exponentials of differences), AdamW
over all pairs at once. With --compile also under torch.compile. Programs take turns, three each; medians are printed with the GFLOP/s
that matrix products alone make (3 products a step, forward and for both gradients), beside those of a product of 4,096 by 4,096 singles.
Needs torch.
"""

import argparse
import json
import os
import statistics
import subprocess
import time

import torch
from torch import nn

WIDTH, HEADS, NEURONS, WARM = 128, 4, 512, 5


def parameters(p):
    scale = WIDTH**-0.5
    shapes = [(p + 1, WIDTH), (3, WIDTH), *[(WIDTH, WIDTH)] * 4, (WIDTH, NEURONS), (1, NEURONS), (NEURONS, WIDTH), (1, WIDTH), (WIDTH, p)]
    return [nn.Parameter(scale * torch.randn(shape) if shape[0] > 1 else torch.zeros(shape)) for shape in shapes]


def loss_of(weights, a, b, targets):
    token, position, query, key, value, output, up, up_bias, down, down_bias, unembed = weights
    p, width = token.shape[0] - 1, WIDTH // HEADS
    last = token[p:] + position[2:]
    first, second = token[:p] + position[0], token[:p] + position[1]
    q = (last @ query).view(HEADS, width)
    looked = torch.einsum("dhw,hw->dh", key.view(WIDTH, HEADS, width), q) * width**-0.5
    scores = torch.stack([(first @ looked)[a], (second @ looked)[b], (last @ looked).expand(len(a), HEADS)], 2)
    weight = torch.softmax(scores, 2)[..., None]
    of = lambda x: x.view(-1, HEADS, width)
    read = weight[:, :, 0] * of((first @ value)[a]) + weight[:, :, 1] * of((second @ value)[b]) + weight[:, :, 2] * of(last @ value)
    x = read.reshape(len(a), WIDTH) @ output + last
    x = x + torch.relu(x @ up + up_bias) @ down + down_bias
    logits = x @ unembed
    away = (logits - logits.gather(1, targets[:, None])).clamp(max=80).exp()
    return torch.log1p(away.scatter(1, targets[:, None], 0.0).sum(1)).mean()


def torch_seconds(p, fraction, steps, compiled):
    torch.manual_seed(0)
    pairs = torch.randperm(p * p)[: round(fraction * p * p)]
    a, b = pairs // p, pairs % p
    targets = (a + b) % p
    weights = parameters(p)
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=1.0, betas=(0.9, 0.98))
    function = torch.compile(loss_of) if compiled else loss_of
    seconds = []
    for _ in range(steps + WARM):
        start = time.perf_counter()
        optimizer.zero_grad()
        function(weights, a, b, targets).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[WARM:])


def peak():
    a = torch.randn(4096, 4096)
    a @ a
    start = time.perf_counter()
    for _ in range(3):
        a @ a
    return 3 * 2 * 4096**3 / (time.perf_counter() - start) / 1e9


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--modulus", type=int, default=113)
    parser.add_argument("--fraction", type=float, default=0.3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--beside")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    p = options.modulus
    count = round(options.fraction * p * p)
    flops = 3 * 2 * count * (WIDTH * WIDTH + 2 * WIDTH * NEURONS + WIDTH * p)
    kinds = ["torch"] + ["torch.compile"] * options.compile + ["lab"] * bool(options.beside)
    found = {kind: [] for kind in kinds}
    for _ in range(3):
        for kind in kinds:
            if kind == "lab":
                command = [options.beside, str(p), str(options.fraction), str(options.steps)]
                environment = os.environ | {"RAYON_NUM_THREADS": str(options.threads)}
                told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                found[kind].append(json.loads(told.stdout)["seconds_per_step"])
            else:
                found[kind].append(torch_seconds(p, options.fraction, options.steps, kind == "torch.compile"))
    print(f"torch {torch.__version__}, p = {p}, {count} pairs, {options.threads} threads; 4,096³: {peak():.0f} GFLOP/s")
    for kind, seconds in found.items():
        step = statistics.median(seconds)
        print(f"{kind}: {step * 1e3:.2f} ms a step, {flops / step / 1e9:.0f} GFLOP/s in products; each: {[round(s * 1e3, 2) for s in seconds]}")


if __name__ == "__main__":
    main()
