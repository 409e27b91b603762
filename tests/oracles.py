"""Slow, obvious twins of the fast paths; the tests check that both agree."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch

from worldmodel.interfaces import Context


def windows_slow(episodes: list[dict[str, Any]], length: int, stride: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every window of every episode, (pixels (T, ...), action (T-1, F*a)), by plain loops over rows and steps."""
    windows = []
    for episode in episodes:
        rows = len(episode["pixels"])
        for start in range(rows):
            if start + (length - 1) * stride > rows - 1:
                continue
            pixels = [episode["pixels"][start + k * stride] for k in range(length)]
            blocks = []
            for k in range(length - 1):
                block: list[float] = []
                for step in range(stride):
                    block.extend(episode["action"][start + k * stride + step])
                blocks.append(block)
            action = np.asarray(blocks, np.float32).reshape(length - 1, stride * episode["action"].shape[1])
            windows.append((np.stack(pixels), action))
    return windows


def happened_slow(episode: dict[str, Any], length: int, stride: int) -> list[tuple[list[float], list[bool]]]:
    """Mean reward, and whether the episode ended, between the frames of its every window, by plain loops."""
    windows = []
    for start in range(len(episode["pixels"]) - (length - 1) * stride):
        ways = [range(start + k * stride + 1, start + (k + 1) * stride + 1) for k in range(length - 1)]
        rewards = [sum(float(episode["reward"][row]) for row in way) / stride for way in ways]
        windows.append((rewards, [any(bool(episode["terminated"][row]) for row in way) for way in ways]))
    return windows


def expected_return_slow(model: Any, now: torch.Tensor, path: torch.Tensor, plan: torch.Tensor) -> float:
    """What a plan (H, A) is expected to earn along its predicted latents (H, D), a model step at a time."""
    F, total = model.config.action_block, 0.0
    for k, (after, action) in enumerate(zip(path, plan)):
        before = path[k - 1] if k else now
        total += model.config.discount ** (F * k) * float(model.reward(before[None], action[None], after[None])[0])
    if model.value is not None:
        total += model.config.discount ** (F * len(plan)) * float(model.value(path[-2][None], path[-1][None])[0])
    return F * float(model.reward_scale) * total


def epps_pulley_slow(h: torch.Tensor, knots: int = 17, end: float = 3.0) -> torch.Tensor:
    """Integrate |mean exp(ith) - exp(-t^2/2)|^2 exp(-t^2/2) over [-end, end], trapezoid rule, a knot at a time."""
    spacing = end / (knots - 1)
    total = torch.zeros(h.shape[:-2] + h.shape[-1:], dtype=torch.float64)
    for q in range(-(knots - 1), knots):
        t = q * spacing
        weight = spacing * (0.5 if abs(q) == knots - 1 else 1.0) * math.exp(-t * t / 2)
        real = torch.cos(t * h).mean(dim=-2) - math.exp(-t * t / 2)
        imaginary = torch.sin(t * h).mean(dim=-2)
        total += weight * (real**2 + imaginary**2)
    return h.shape[-2] * total


def attention_slow(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool = False) -> torch.Tensor:
    """Softmax attention in float64, a query at a time: (M, heads, L, d) each -> (M, heads, L, d)."""
    q, k, v = q.double(), k.double(), v.double()
    rows = []
    for i in range(q.shape[2]):
        seen = slice(None, i + 1 if causal else None)
        scores = (q[:, :, i, None] * k[:, :, seen]).sum(dim=-1) / math.sqrt(q.shape[-1])
        weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
        rows.append((weights[..., None] * v[:, :, seen]).sum(dim=2))
    return torch.stack(rows, dim=2)


def vit_slow(encoder: Any, x: torch.Tensor) -> torch.Tensor:
    """Every token through every block; only then is the CLS token taken."""
    tokens = encoder.patches(x).flatten(2).transpose(1, 2)
    tokens = torch.cat([encoder.cls.expand(len(x), -1, -1), tokens], dim=1) + encoder.position
    for block in encoder.blocks:
        tokens = block(tokens)
    out: torch.Tensor = encoder.norm(tokens)[:, 0]
    return out


@torch.no_grad()
def one_step_rollout_slow(predictor: Any, context: Any, plans: torch.Tensor) -> torch.Tensor:
    """Every plan by itself, one latent after another, each from the last C latents and actions."""
    B, N, H, _ = plans.shape
    out = torch.zeros(B, N, H, context.z.shape[-1], dtype=plans.dtype)
    for b in range(B):
        for n in range(N):
            latents, actions = list(context.z[b]), [*context.actions[b], *plans[b, n]]
            for h in range(H):
                now = len(latents)
                first = max(0, now - predictor.context)
                z, a = torch.stack(latents[first:]), torch.stack(actions[first:now])
                latents.append(predictor(z[None], a[None])[0, -1])
                out[b, n, h] = latents[-1]
    return out


@torch.no_grad()
def prefix_rollout_slow(predictor: Any, context: Any, plans: torch.Tensor) -> torch.Tensor:
    """Every plan and every prefix by itself; after each jump of max_prefix the history is the predicted one."""
    B, N, H, _ = plans.shape
    out = torch.zeros(B, N, H, context.z.shape[-1], dtype=plans.dtype)
    for b in range(B):
        for n in range(N):
            history = list(context.z[b])
            for start in range(0, H, predictor.max_prefix):
                anchor = ([history[0]] * predictor.context + history)[-predictor.context :]
                for k in range(1, min(predictor.max_prefix, H - start) + 1):
                    token = predictor.prefixes(torch.stack(anchor)[None], plans[b, n, None, start : start + k])[:, -1]
                    out[b, n, start + k - 1] = predictor(anchor[-1][None], token)[0]
                history += list(out[b, n, start : start + predictor.max_prefix])
    return out


@torch.no_grad()
def consistency_slow(predictor: Any, context: Any, plans: torch.Tensor, jump: int, split: int) -> torch.Tensor:
    """Squared distance of each plan's latent after ``jump`` steps to that from a second start after ``split`` steps."""
    B, N = plans.shape[:2]
    direct = prefix_rollout_slow(predictor, context, plans[:, :, :jump])
    out = torch.zeros(B, N)
    for b in range(B):
        for n in range(N):
            history = torch.stack([*context.z[b], *direct[b, n, :split]])
            middle = context._replace(z=history[None])
            hopped = prefix_rollout_slow(predictor, middle, plans[b : b + 1, n : n + 1, split:jump])[0, 0, -1]
            out[b, n] = (direct[b, n, jump - 1] - hopped).square().sum()
    return out


def riccati(
    M: torch.Tensor, G: torch.Tensor, z: torch.Tensor, goal: torch.Tensor, stage: float, effort: float, horizon: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The optimum of a linear-quadratic problem by dynamic programming, for one environment and one step at a time.

    With ``V_t(z) = z'Pz + 2 p'z + c``, ``V_H = |z - goal|^2`` and ``z' = M z + G u``, going backwards
    ``u = -(effort I + G'PG)^-1 G'(PMz + p)``, and every step but the last also costs ``stage |z - goal|^2``.

    Returns:
        Plans (B, H, A) and costs (B,), float64.
    """
    M, G = M.double(), G.double()
    eye = torch.eye(len(M), dtype=torch.double)
    plans, costs = [], []
    for now, target in zip(z.double(), goal.double()):
        P, p, c = eye, -target, target @ target
        laws = []
        for t in reversed(range(horizon)):
            gain = torch.linalg.inv(effort * torch.eye(G.shape[1], dtype=torch.double) + G.T @ P @ G) @ G.T
            K, k = gain @ P @ M, gain @ p  # u = -(K z + k)
            laws.insert(0, (K, k))
            c = c - p @ G @ k
            p = M.T @ (p - P @ G @ k)
            P = M.T @ P @ (M - G @ K)
            if t > 0:
                P, p, c = P + stage * eye, p - stage * target, c + stage * target @ target
        costs.append(now @ P @ now + 2 * p @ now + c)
        actions = []
        for K, k in laws:
            actions.append(-(K @ now + k))
            now = M @ now + G @ actions[-1]
        plans.append(torch.stack(actions))
    return torch.stack(plans), torch.stack(costs)


@torch.no_grad()
def surprise_slow(model: Any, name: str, pictures: list[np.ndarray], actions: list[np.ndarray]) -> float | None:
    """Error of predicting the last picture's latent from all pictures and actions of an episode so far.

    None where fewer than C blocks of actions were taken.
    """
    C, F, now = model.config.context, model.config.action_block, len(actions)
    if now < C * F:
        return None
    latents = [model.encode({"pixels": torch.from_numpy(picture)[None, None]})[0, 0] for picture in pictures]
    blocks = []
    for k in range(C, 0, -1):  # from k model steps ago to k - 1
        values: list[float] = []
        for step in range(now - k * F, now - (k - 1) * F):
            values.extend((torch.from_numpy(actions[step]) - model.action_mean) / model.action_std)
        blocks.append(torch.tensor(values))
    z = torch.stack([latents[now - k * F] for k in range(C, 0, -1)])
    slow = {"one-step": one_step_rollout_slow, "prefix": prefix_rollout_slow}[name]
    context = Context(z[None], torch.stack(blocks)[None, :-1])
    z_hat = slow(model.predictor(name), context, blocks[-1][None, None, None])[0, 0, 0]
    return float(sum((z_hat - latents[now]) ** 2) / len(z_hat))


def policy_plan_slow(policy: Any, model: Any, predictor: Any, context: Any, horizon: int) -> torch.Tensor:
    """What a policy does in the world model, (H, A) normalised, of one environment: a step and an action at a time.

    The latents up to each step are predicted anew from the present, a plan of one candidate.
    """
    plan: list[torch.Tensor] = []
    for step in range(horizon):
        z = context.z[:, -1]
        if step:
            z = predictor.rollout(context, torch.stack(plan)[None, None])[:, 0, step - 1]
        action = policy(z, None)[0]
        block = torch.cat([action for _ in range(model.config.action_block)])
        plan.append(torch.minimum(torch.maximum(model.normalise(block), model.low), model.high))
    return torch.stack(plan)


def reflex_plan_slow(model: Any, predictor: Any, context: Any, goal: torch.Tensor, left: float, steps: int) -> Any:
    """What a reflex does in the world model, (steps, A) normalised, of one environment with goal (D,), step by step."""
    z, actions, plan = list(context.z[0]), list(context.actions[0]), []
    for _ in range(steps):
        last = z[-model.config.context :]
        anchor = [last[0]] * (model.config.context - len(last)) + last
        block = model.reflex(torch.stack(anchor)[None], goal[None], torch.tensor([max(left, 1.0)]))[0]
        plan.append(torch.minimum(torch.maximum(block, model.low), model.high))
        now = type(context)(torch.stack(last)[None], torch.stack([*actions, plan[-1]])[None][:, -len(last) : -1])
        z.append(predictor.rollout(now, plan[-1][None, None, None])[0, 0, 0])
        actions.append(plan[-1])
        left -= 1
    return torch.stack(plan)


def rank_correlation_slow(x: list[float], y: list[float]) -> float:
    """Spearman's correlation: Pearson's of ranks that are counted one by one; ties share the mean of theirs."""

    def ranks(values: list[float]) -> list[float]:
        return [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]

    return float(np.corrcoef(ranks(x), ranks(y))[0, 1])


def auc_slow(score: list[float], positive: list[bool]) -> float:
    """How often a positive has the higher score, over all pairs of a positive and another; a tie is half a win."""
    won = []
    for a, is_positive in zip(score, positive):
        for b, other in zip(score, positive):
            if is_positive and not other:
                won.append(1.0 if a > b else 0.5 if a == b else 0.0)
    return sum(won) / len(won)


def open_loop_slow(predictor: Any, episodes: list[Any], context: int, horizon: int) -> tuple[float, float]:
    """Mean squared error of one horizon and of copying, start by start, with one call of the predictor for each."""
    errors, copies = [], []
    for episode in episodes:
        for start in range(len(episode.z) - context - horizon + 1):
            now = start + context - 1
            past = Context(episode.z[None, start : now + 1], episode.actions[None, start:now])
            z_hat = predictor.rollout(past, episode.actions[None, None, now : now + horizon])[0, 0, -1]
            errors.append(float((z_hat - episode.z[now + horizon]).square().mean()))
            copies.append(float((episode.z[now] - episode.z[now + horizon]).square().mean()))
    return sum(errors) / len(errors), sum(copies) / len(copies)


def signed_rank_slow(differences: list[float]) -> float:
    """Wilcoxon's test by trying every choice of signs."""
    sizes = [abs(d) for d in differences if d]
    ranks = [(sum(x < size for x in sizes) + 1 + sum(x <= size for x in sizes)) / 2 for size in sizes]
    found = sum(rank for rank, d in zip(ranks, [d for d in differences if d]) if d > 0)
    sums = [sum(r for r, up in zip(ranks, ups) if up) for ups in itertools.product((False, True), repeat=len(ranks))]
    below, above = sum(x <= found for x in sums), sum(x >= found for x in sums)
    return min(1.0, 2 * min(below, above) / len(sums))


def sign_flips_slow(differences: list[float], cluster: list[int]) -> float:
    """The randomisation test by trying every choice of signs of the clusters."""
    sums = [sum(d for d, c in zip(differences, cluster) if c == which) for which in sorted(set(cluster))]
    choices = list(itertools.product((-1, 1), repeat=len(sums)))
    extreme = [abs(sum(s * d for s, d in zip(signs, sums))) >= abs(sum(sums)) for signs in choices]
    return sum(extreme) / len(choices)


def foreseen_one_by_one(predictor, z, actions, execute_steps, context):
    """What was expected at every block, each predicted anew from the last moment of planning before it."""
    found = [z[0]]
    for k in range(1, len(z)):
        now = (k - 1) // execute_steps * execute_steps
        past = range(max(0, now - context + 1), now + 1)
        seen = Context(torch.stack([z[i] for i in past])[None], actions[past[0] : now][None])
        with torch.no_grad():
            found.append(predictor.rollout(seen, actions[now:k][None, None])[0, 0, -1])
    return torch.stack(found)


def coarse_slow(corners: np.ndarray, triangles: np.ndarray, cells: int) -> list[tuple[int, list[int]]]:
    """Triangles that remain once corners of one cell are one, each with its corners, one after the other."""
    low, side = corners.min(axis=0), (corners.max(axis=0) - corners.min(axis=0)).max()
    cell = [tuple(int((x - least) * (cells / side)) for x, least in zip(corner, low)) for corner in corners]
    met: set[frozenset[tuple[int, ...]]] = set()
    kept = []
    for i, triangle in enumerate(triangles):
        cells_met = frozenset(cell[corner] for corner in triangle)
        if len(cells_met) == 3 and cells_met not in met:
            met.add(cells_met)
            kept.append((i, [cell.index(cell[corner]) for corner in triangle]))
    return kept


def moved_slow(picture: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Every pixel of a picture (S, S, 3) is the one so far above and to the left, or the nearest one at the edge."""
    size, seen = len(picture), torch.empty_like(picture)
    for row in range(size):
        for column in range(size):
            seen[row, column] = picture[min(max(row - down, 0), size - 1), min(max(column - right, 0), size - 1)]
    return seen
