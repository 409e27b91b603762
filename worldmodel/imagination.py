"""Plans that nobody demonstrated, and what the one-step predictor expects of them.

A demonstrator's consecutive actions belong together, a planner's candidates do not. To judge such a plan the one-step
predictor needs to have seen each of its actions near each place, the prefix predictor the whole sequence. So the prefix
predictor also learns from the other one's rollouts of random plans.

Shapes: M plans, H model steps, C context frames, D latent width, F action block, a action size, A = F * a.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel import distributed
from worldmodel.interfaces import Context, Prediction
from worldmodel.noise import correlate
from worldmodel.one_step import OneStep
from worldmodel.prefix import Prefix


def random_plans(
    count: int, steps: int, low: Tensor, high: Tensor, block: int, generator: torch.Generator | None
) -> Tensor:
    """Draw plans between which a search would choose, from trembling to steady: (M, H, A) within the bounds.

    Primitive actions are correlated in time (``worldmodel.noise.correlate``), each plan with a rho of its own, uniform
    in [0, 1); their standard deviation is one, in normalised action units. Several processes with equal generators draw
    the plans of all and keep every so many-th, as they do with windows.

    Args:
        count: M.
        steps: H.
        low: lower bound of a normalised action block, (A,).
        high: upper bound, (A,).
        block: F.
        generator: of the noise, on the device of the bounds.
    """
    all_of_them, mine = count * distributed.size(), slice(distributed.rank(), None, distributed.size())
    noise = torch.randn(all_of_them, steps, len(low), generator=generator, device=low.device)[mine].to(low.dtype)
    rho = torch.rand(all_of_them, 1, 1, generator=generator, device=low.device)[mine].to(low.dtype)
    return correlate(noise, rho, block).clamp(low, high)


def predict_imagined(teacher: OneStep, learner: Prefix, context: Context, plans: Tensor) -> Prediction:
    """Predict every prefix of the plans (M, H, A), one for each context; the targets are the teacher's rollouts.

    Neither the latents nor the teacher learn from it. Call it after the teacher's own predictions of the step: in older
    torch, autocast keeps the parameters it has cast, and those first cast here would carry no gradient.
    """
    context = Context(context.z.detach(), context.actions)
    training = teacher.training
    teacher.eval()
    with torch.no_grad():
        target = teacher.rollout(context, plans[:, None])
    teacher.train(training)
    return Prediction(learner.rollout(context, plans[:, None]).flatten(0, 2), target.flatten(0, 2))
