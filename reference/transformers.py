"""Small transformers whose tokens have momenta, in PyTorch, written from the formulas at the head of the lab's `transformer` module.

Makes crates/hattention-lab/src/transformer/reference.json: of every block and kernel the first loss, its gradients (of every
parameter one weighted sum) and ten losses of training, all in doubles. Needs torch. A few seconds. Run from the repository root:

    python reference/transformers.py

Before it writes, it checks itself: gradients against differences, that no block but the leaking one sees the future, that
kick-drift without momentum is plain attention, and the forces of heads against derivatives of their energies.

Entry k (row by row) of parameter p, both from 0, is its start (0 where that is random) plus a sin(0.7k + 1.3p + 0.5), a = 0.3 for
matrices and 0.1 for rows and numbers. Token t of text b of step s is 3b + 5t + bt + 2s + t² mod 7. The sum of a gradient weighs
entry k by sin(0.9k + 0.2).
"""

import itertools
import json
import math

import torch
from torch.nn.functional import softplus

from common import ROOT

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

VOCABULARY, CONTEXT, WIDTH, HEADS, LAYERS = 7, 6, 8, 2, 2
TEXTS, STEPS, WARM, RATE, LEAST, DECAY = 2, 10, 3, 0.01, 0.1, 0.1
GUARD = 10.0
NINE_TENTHS, ONE = math.log(9), math.log(math.e - 1)  # what a sigmoid makes 0.9, what softplus makes 1

NORMED = ["heavy-ball", "yuriiformer", "h1", "r2"]
STEPPED = ["euler", "exponential-euler", "kick-drift", "leaking"]
BLOCKS = ["plain", "summed", "injected", *NORMED, *STEPPED]
KERNELS = ["softmax", "linear"]


def specs(block):
    """Name, shape and start of every parameter, in order."""
    d = WIDTH
    yield "token", (VOCABULARY, d), 0.0
    yield "position", (CONTEXT, d), 0.0
    if block != "plain":
        yield "second.token", (VOCABULARY, d), 0.0
        yield "second.position", (CONTEXT, d), 0.0
    for layer in range(LAYERS):
        own = [("norm", (1, d), 1.0)]
        own += [(name, (d, d), 0.0) for name in ("query", "key", "value", "output")]
        own += [("network.norm", (1, d), 1.0), ("network.up", (d, 4 * d), 0.0), ("network.down", (4 * d, d), 0.0)]
        if block == "injected":
            own += [("injected", (1, 1), 0.1), ("network.injected", (1, 1), 0.1)]
        if block in NORMED:
            own += [("momentum.norm", (1, d), 1.0)]
            for half in ("", "network."):
                own += [(f"{half}momentum.kept", (1, 1), NINE_TENTHS)]
                own += [(f"{half}momentum.pushed", (1, 1), 1.0)]
                if half or block == "yuriiformer":
                    own += [(f"{half}momentum.ahead", (1, 1), NINE_TENTHS)]
        if block in STEPPED:
            own += [("step", (1, 1), ONE), ("damping", (1, 1), NINE_TENTHS)]
        for name, shape, start in own:
            yield f"layer{layer}.{name}", shape, start
    yield "norm", (1, d), 1.0


def parameters(block):
    made = {}
    for p, (name, shape, start) in enumerate(specs(block)):
        k = torch.arange(math.prod(shape), dtype=torch.float64)
        size = 0.3 if min(shape) > 1 else 0.1
        made[name] = (start + size * torch.sin(0.7 * k + 1.3 * p + 0.5)).reshape(shape).requires_grad_(True)
    return made


def texts(step):
    return torch.tensor([[(3 * b + 5 * t + b * t + 2 * step + t * t) % VOCABULARY for t in range(CONTEXT + 1)] for b in range(TEXTS)])


def norm(x, scale):
    """Each token less its mean, over its deviation, times a learned scale."""
    apart = x - x.mean(-1, keepdim=True)
    return apart / torch.sqrt((apart**2).mean(-1, keepdim=True) + 1e-5) * scale


def network(x, own):
    inner = norm(x, own["network.norm"]) @ own["network.up"]
    return inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2))) @ own["network.down"]


def part(x):
    """[b, t, d] to heads [b, h, t, d/h]."""
    return torch.stack(x.split(x.shape[-1] // HEADS, dim=-1), dim=1)


def join(x):
    return torch.cat(x.unbind(1), dim=-1)


def past(scores):
    """Scores j <= i, zeros elsewhere."""
    return torch.tril(scores)


class Attention:
    """Queries, keys, values, scores of tokens; and what follows from them."""

    def __init__(self, q, k, v, own, kernel, guard=GUARD):
        self.q, self.k, self.v, self.own, self.kernel, self.guard = q, k, v, own, kernel, guard
        self.root = math.sqrt(q.shape[-1])
        self.scores = q @ k.transpose(-1, -2) / self.root
        self.counts = torch.arange(1.0, q.shape[-2] + 1).unsqueeze(1)

    @classmethod
    def of(cls, x, own, kernel, guard=GUARD):
        z = norm(x, own["norm"])
        return cls(*(part(z @ own[name]) for name in ("query", "key", "value")), own, kernel, guard)

    def out(self, heads):
        return join(heads) @ self.own["output"]

    def shares(self):
        """P."""
        if self.kernel == "linear":
            return past(self.scores) / self.counts
        future = torch.ones_like(self.scores, dtype=torch.bool).triu(1)
        return torch.softmax(self.scores.masked_fill(future, -math.inf), dim=-1)

    def force(self):
        return self.out(self.shares() @ self.v)

    def correction(self, u):
        """C, of directions u [b, t, d]."""
        shares = self.shares()
        u_q, u_k = (part(u @ self.own[name]) for name in ("query", "key"))
        slopes = (u_q @ self.k.transpose(-1, -2) + self.q @ u_k.transpose(-1, -2)) / self.root
        a = (shares * slopes).sum(-1).mean(1).unsqueeze(-1)
        square = (u**2).sum(-1, keepdim=True)
        others = self.out(shares @ (square.unsqueeze(1) * self.v))
        return a * u - (square * self.force() + others) / 2

    def masses(self):
        """M and z."""
        m = torch.exp(self.guard * torch.tanh(self.scores / self.guard))
        return past(m), past(m).sum(-1, keepdim=True) / self.counts

    def kick(self, y, leaking):
        """G, of momenta of heads."""
        if self.kernel == "linear":
            return self.v - past(y @ y.transpose(-1, -2)) @ self.k / self.root / self.counts
        m, z = self.masses()
        kappa = (y**2).sum(-1, keepdim=True) / z**2
        if leaking:
            pairs = m * (kappa + 1) / (2 * self.counts)
            return (pairs + pairs.transpose(-1, -2)) @ self.v
        return m * (kappa + kappa.transpose(-1, -2) + 2) @ self.v / (2 * self.counts)

    def drift(self, y):
        """D, of momenta of heads."""
        if self.kernel == "linear":
            return self.out(past(self.scores) @ y / self.counts)
        return self.out(y / self.masses()[1])


def momentum_layer(x, v, own, block, kernel):
    beta, gamma = torch.sigmoid(own["momentum.kept"]), own["momentum.pushed"]
    ahead = torch.sigmoid(own["momentum.ahead"]) * v if block == "yuriiformer" else 0
    attention = Attention.of(x + ahead, own, kernel)
    w = beta * v + gamma * attention.force()
    if block == "h1":
        w = w - attention.correction(v)
    moved = None
    if block == "r2":
        c = attention.correction(w)
        w, moved = w - c, norm(w - c / 2, own["momentum.norm"])
    v = norm(w, own["momentum.norm"])
    x = x + (v if moved is None else moved)

    beta, gamma, mu = (own[f"network.momentum.{name}"] for name in ("kept", "pushed", "ahead"))
    v = norm(torch.sigmoid(beta) * v + gamma * network(x + torch.sigmoid(mu) * v, own), own["momentum.norm"])
    return x + v, v


def stepped_half(x, y, own, block, kernel, guard=GUARD):
    attention = Attention.of(x, own, kernel, guard)
    step, kept, time = softplus(own["step"]), torch.sigmoid(own["damping"]), softplus(-own["damping"])
    kick = attention.kick(y, block == "leaking")
    if block == "euler":
        return x + step * attention.drift(y), kept * y + step * kick
    if block == "exponential-euler":
        return x + step * attention.drift(y), kept * y + step * (1 - kept) / time * kick
    y = kept * (y + step * kick)
    return x + step * attention.drift(y), y


def logits(tokens, weights, block, kernel):
    count = tokens.shape[1]
    x = weights["token"][tokens] + weights["position"][:count]
    second = weights["second.token"][tokens] + weights["second.position"][:count] if block != "plain" else None
    if block == "summed":
        x = x + second
    state = part(second) if block in STEPPED else second
    for layer in range(LAYERS):
        head = f"layer{layer}."
        own = {name.removeprefix(head): value for name, value in weights.items() if name.startswith(head)}
        if block in NORMED:
            x, state = momentum_layer(x, state, own, block, kernel)
        elif block in STEPPED:
            x, state = stepped_half(x, state, own, block, kernel)
            x = x + network(x, own)
        else:
            x = x + Attention.of(x, own, kernel).force()
            if block == "injected":
                x = x + own["injected"] * second
            x = x + network(x, own)
            if block == "injected":
                x = x + own["network.injected"] * second
    return norm(x, weights["norm"]) @ weights["token"].T


def loss(tokens, weights, block, kernel):
    """Mean cross-entropy in nats."""
    said = logits(tokens[:, :-1], weights, block, kernel)
    return (torch.logsumexp(said, -1) - said.gather(-1, tokens[:, 1:, None]).squeeze(-1)).mean()


def rate(step):
    if step < WARM:
        return RATE * (step + 1) / WARM
    return RATE * (LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * (step - WARM) / (STEPS - WARM))))


def slope(weights, value):
    """Gradients; zeros of parameters that the value does not depend on, as of values in a last layer of Euler's step."""
    return torch.autograd.grad(value, list(weights.values()), allow_unused=True, materialize_grads=True)


def trained(block, kernel):
    weights = parameters(block)
    matrices = [value for value in weights.values() if min(value.shape) > 1]
    others = [value for value in weights.values() if min(value.shape) == 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95), eps=1e-8)
    losses = []
    for step in range(STEPS):
        value = loss(texts(step), weights, block, kernel)
        losses.append(value.item())
        gradients = slope(weights, value)
        length = math.sqrt(sum((gradient**2).sum().item() for gradient in gradients))
        for parameter, gradient in zip(weights.values(), gradients):
            parameter.grad = gradient * min(1.0, 1.0 / length)
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
    return losses


def described(block, kernel):
    weights = parameters(block)
    value = loss(texts(0), weights, block, kernel)
    sums = {}
    for name, gradient in zip(weights, slope(weights, value)):
        k = torch.arange(gradient.numel(), dtype=torch.float64)
        sums[name] = (gradient.flatten() * torch.sin(0.9 * k + 0.2)).sum().item()
    losses = trained(block, kernel)
    assert losses[0] == value.item()
    return {"block": block, "kernel": kernel, "loss": value.item(), "gradients": sums, "losses": losses}


def check_slope(block, kernel):
    """How far the first and last entries of every slope are from differences of fourth order, as a share of 1 + the largest entry."""
    weights = parameters(block)
    gradients = dict(zip(weights, slope(weights, loss(texts(0), weights, block, kernel))))
    apart, by = 0.0, 1e-6
    with torch.no_grad():
        for name, value in weights.items():
            for k in {0, value.numel() - 1}:
                entry, found = value.view(-1), 0.0
                kept = entry[k].item()
                for steps, share in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
                    entry[k] = kept + steps * by
                    found += share / by * loss(texts(0), weights, block, kernel).item()
                entry[k] = kept
                apart = max(apart, abs(found - gradients[name].flatten()[k].item()))
    apart /= 1 + max(gradient.abs().max().item() for gradient in gradients.values())
    assert apart < 1e-8, (block, kernel, apart)
    return apart


def check_past(block, kernel):
    """How far a change of the last token, and its absence, move what is said at earlier places."""
    weights, tokens = parameters(block), texts(0)[:, :-1]
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 1) % VOCABULARY
    with torch.no_grad():
        said, *others = (logits(one, weights, block, kernel)[:, : CONTEXT - 1] for one in (tokens, other, tokens[:, :-1]))
    moved = max((said - one).abs().max().item() for one in others)
    assert (moved > 1e-6) if block == "leaking" else (moved < 1e-12), (block, kernel, moved)
    return moved


def check_plain(kernel, guard):
    """How far kick-drift with y = 0, h = 1 and no damping is from plain attention."""
    weights = parameters("kick-drift")
    own = {name.removeprefix("layer0."): value for name, value in weights.items() if name.startswith("layer0.")}
    own |= {"step": torch.tensor([[ONE]]), "damping": torch.tensor([[100.0]])}
    with torch.no_grad():
        x = weights["token"][texts(0)[:, :-1]] + weights["position"]
        moved, _ = stepped_half(x, torch.zeros_like(part(x)), own, "kick-drift", kernel, guard)
        plain = Attention.of(x, own, kernel).force()
    apart = (moved - x - plain).abs().max().item()
    assert kernel == "softmax" and guard == GUARD or apart < 1e-8, (kernel, guard, apart)
    return apart


def check_forces():
    """Forces of heads and slopes of energies, apart, where queries are keys x, and values what a slope makes of them.

    Leaking: Σ_i (|y_i|²/z_i - z_i)/2 for all tokens. Linear: Σ_(j,k≤i) s_jk (y_j·y_k)/2i - Σ_(j≤i) |x_j|²/2 for token i. Softmax:
    the leaking energy of tokens up to i, with every z over all of them. G has z_j over tokens up to j only, in κ_j, and so is
    that slope at rest (y = 0) but not else.
    """
    generator = torch.Generator().manual_seed(1)
    count, width = 5, 4
    x, y = (0.5 * torch.randn(1, 1, count, width, generator=generator) for _ in range(2))
    x.requires_grad_(True)
    softmax = Attention(x, x, x / math.sqrt(width), {}, "softmax", guard=1e6)
    linear = Attention(x, x, x, {}, "linear")

    def slope_of(energy):
        return torch.autograd.grad(energy, x, retain_graph=True)[0]

    def prefixes(energy, y):
        """Of token i the slope of the energy of tokens up to i."""
        return torch.stack([slope_of(energy(x[..., :i, :], y[..., :i, :]))[..., i - 1, :] for i in range(1, count + 1)], dim=-2)

    def of_masses(y, z):
        return (((y**2).sum(-1, keepdim=True) / z - z) / 2).sum()

    def exponential(x, y):
        return of_masses(y, torch.exp(x @ x.transpose(-1, -2) / softmax.root).mean(-1, keepdim=True))

    def bilinear(x, y):
        scores = x @ x.transpose(-1, -2) / linear.root
        return (scores * (y @ y.transpose(-1, -2))).sum() / (2 * x.shape[-2]) - (x**2).sum() / 2

    apart = {
        "leaking": softmax.kick(y, True) + slope_of(of_masses(y, softmax.masses()[1])),
        "linear": linear.kick(y, False) + prefixes(bilinear, y),
        "softmax at rest": softmax.kick(0 * y, False) + prefixes(exponential, 0 * y),
        "softmax": softmax.kick(y, False) + prefixes(exponential, y),
    }
    apart = {name: value.abs().max().item() for name, value in apart.items()}
    assert all(value < 1e-8 for name, value in apart.items() if name != "softmax"), apart
    return apart


def main():
    cases = [(block, kernel) for block, kernel in itertools.product(BLOCKS, KERNELS) if (block, kernel) != ("leaking", "linear")]
    print(f"gradients and differences apart: {max(check_slope(*case) for case in cases):.1e}")
    print(f"the future moves the past: {max(check_past(*case) for case in cases if case[0] != 'leaking'):.1e}", end="")
    print(f", leaking {check_past('leaking', 'softmax'):.1e}")
    print(f"kick-drift and plain: linear {check_plain('linear', GUARD):.1e}, softmax {check_plain('softmax', GUARD):.1e}", end="")
    print(f", without guard {check_plain('softmax', 1e5):.1e}")
    print("forces and energies apart:", ", ".join(f"{name} {value:.1e}" for name, value in check_forces().items()))
    lines = [json.dumps(described(*case), allow_nan=False) for case in cases]
    path = ROOT / "crates/hattention-lab/src/transformer/reference.json"
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{len(lines)} lines: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
