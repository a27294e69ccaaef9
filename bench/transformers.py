"""Steps of training of a plain softmax transformer in PyTorch, single precision, on the CPU.

    cargo build --release --example training_speed
    python bench/transformers.py --threads 2 --batch 16 --context 64 --width 64 --heads 4 --layers 4 --vocabulary 65 [--explicit]
        [--beside target/release/examples/training_speed]

Needs torch. Prints JSON: steps and tokens a second, by the median time of the steps after five; with --beside those of the lab's program
too, in three turns, and the ratio of the lab's rate to PyTorch's in each. The model is that of the lab's
`transformer` module: norms before each half, no biases, exact GELU, the output tied to the embedding; AdamW with decay of matrices
only, gradients clipped to norm 1. Attention is PyTorch's fused one, or with --explicit a softmax of all scores. Texts are drawn
at random from 100,000 tokens, within the step.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time

import torch
from torch import nn
from torch.nn import functional

WARM = 5


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.heads, self.explicit = shape.heads, shape.explicit
        self.norm = nn.LayerNorm(shape.width, bias=False)
        self.projections = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.output = nn.Linear(shape.width, shape.width, bias=False)
        self.register_buffer("future", torch.ones(shape.context, shape.context, dtype=torch.bool).triu(1))

    def forward(self, x):
        batch, count, width = x.shape
        projected = self.projections(self.norm(x)).view(batch, count, 3, self.heads, width // self.heads)
        q, k, v = projected.permute(2, 0, 3, 1, 4)
        if self.explicit:
            scores = q @ k.transpose(-1, -2) * (width // self.heads) ** -0.5
            mixed = scores.masked_fill(self.future[:count, :count], -torch.inf).softmax(-1) @ v
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(mixed.transpose(1, 2).reshape(batch, count, width))


class Transformer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        width = shape.width
        self.token = nn.Embedding(shape.vocabulary, width)
        self.position = nn.Embedding(shape.context, width)
        self.attentions = nn.ModuleList(Attention(shape) for _ in range(shape.layers))
        self.networks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width, bias=False),
                nn.Linear(width, 4 * width, bias=False),
                nn.GELU(),
                nn.Linear(4 * width, width, bias=False),
            )
            for _ in range(shape.layers)
        )
        self.norm = nn.LayerNorm(width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                back = name.endswith(("output.weight", "3.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * shape.layers) ** 0.5 if back else 0.02)

    def forward(self, tokens):
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        for attention, network in zip(self.attentions, self.networks):
            x = x + attention(x)
            x = x + network(x)
        return self.norm(x) @ self.token.weight.T


def arguments():
    parser = argparse.ArgumentParser(description="Steps of training of a plain transformer a second, in PyTorch.")
    defaults = {"threads": 2, "steps": 50, "batch": 16, "context": 64, "width": 64, "heads": 4, "layers": 4, "vocabulary": 65}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--explicit", action="store_true", help="a softmax of all scores in place of fused attention")
    parser.add_argument("--beside", help="the lab's program, to run in turns")
    return parser.parse_args()


def lab(shape):
    """Steps a second of the lab's program."""
    sizes = [shape.steps, shape.batch, shape.context, shape.width, shape.heads, shape.layers, shape.vocabulary]
    command = [shape.beside, "plain", "softmax", *map(str, sizes)]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(shape.threads)}
    return json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)["steps_per_second"]


def main():
    shape = arguments()
    result = trained(shape)
    if shape.beside:
        turns = [(lab(shape), trained(shape)["steps_per_second"]) for _ in range(3)]
        result["lab_steps_per_second"] = statistics.median(ours for ours, _ in turns)
        result["ratios"] = [ours / theirs for ours, theirs in turns]
    print(json.dumps(result, indent=1))


def trained(shape):
    torch.set_num_threads(shape.threads)
    torch.manual_seed(1)
    model = Transformer(shape)
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    scales = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": scales, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    text = torch.randint(shape.vocabulary, (100_000,))
    reach = torch.arange(shape.context + 1)

    seconds = []
    for _ in range(WARM + shape.steps):
        start = time.perf_counter()
        drawn = text[torch.randint(len(text) - shape.context, (shape.batch, 1)) + reach]
        said = model(drawn[:, :-1])
        loss = functional.cross_entropy(said.flatten(0, 1), drawn[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        last = loss.item()
        seconds.append(time.perf_counter() - start)

    step = statistics.median(seconds[WARM:])
    return {
        "attention": "explicit" if shape.explicit else "fused",
        **{name: value for name, value in vars(shape).items() if name not in ("explicit", "beside")},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps_per_second": 1 / step,
        "tokens_per_second": shape.batch * shape.context / step,
        "last_loss": last,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
