"""PPO's arithmetic written again as plain loops over lists, from the papers alone; the oracle of `objective`."""

import math

Rows = list[list[float]]


def token_rewards(scores: list[float], kl: Rows, lengths: list[int], coefficient: float) -> Rows:
    out = []
    for score, row, length in zip(scores, kl, lengths, strict=True):
        rewards = [-coefficient * row[t] for t in range(length)]
        rewards[length - 1] += score
        out.append(rewards)
    return out


def generalised_advantages(rewards: Rows, values: Rows, discount: float, lam: float) -> tuple[Rows, Rows]:
    """Equation 16 of Schulman et al. 2016 as the explicit double sum, not as a recursion."""
    advantages, returns = [], []
    for row, value in zip(rewards, values, strict=True):
        length = len(row)
        deltas = [row[t] + discount * (value[t + 1] if t + 1 < length else 0.0) - value[t] for t in range(length)]
        own = [sum((discount * lam) ** k * deltas[t + k] for k in range(length - t)) for t in range(length)]
        advantages.append(own)
        returns.append([a + v for a, v in zip(own, value[:length], strict=True)])
    return advantages, returns


def group_advantages(rewards: Rows, group: int) -> list[float]:
    totals = [sum(row) for row in rewards]
    groups = [totals[start : start + group] for start in range(0, len(totals), group)]
    return [total - sum(own) / group for own in groups for total in own]


def whiten(rows: Rows) -> Rows:
    flat = [x for row in rows for x in row]
    mean = sum(flat) / len(flat)
    variance = sum((x - mean) ** 2 for x in flat) / len(flat)
    return [[(x - mean) / math.sqrt(variance + 1e-8) for x in row] for row in rows]


def policy_loss(new: Rows, old: Rows, advantages: Rows, clip: float) -> float:
    total = 0.0
    for n, o, a in zip(new, old, advantages, strict=True):
        for new_t, old_t, adv in zip(n, o, a, strict=True):
            ratio = math.exp(max(-20.0, min(20.0, new_t - old_t)))
            clipped = max(1 - clip, min(1 + clip, ratio))
            total += -min(ratio * adv, clipped * adv)
    return total


def value_loss(values: Rows, old: Rows, returns: Rows, clip: float) -> float:
    total = 0.0
    for v_row, o_row, r_row in zip(values, old, returns, strict=True):
        for v, o, r in zip(v_row, o_row, r_row, strict=True):
            near = o + max(-clip, min(clip, v - o))
            total += 0.5 * max((v - r) ** 2, (near - r) ** 2)
    return total


def ranking_loss(scores: list[float], tiers: list[int]) -> float:
    losses = []
    for i in range(len(scores)):
        for j in range(i):
            win = math.log(1 / (1 + math.exp(-(scores[i] - scores[j]))))
            lose = math.log(1 / (1 + math.exp(-(scores[j] - scores[i]))))
            if tiers[i] < tiers[j]:
                losses.append(-win)
            elif tiers[i] > tiers[j]:
                losses.append(-lose)
            else:
                losses.append(-(win + lose) / 2)
    return sum(losses) / len(losses)
