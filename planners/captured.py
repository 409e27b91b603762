"""Solves recorded as CUDA graphs and replayed: hundreds of small kernels without the host between them.

Shapes: B environments, n candidates, H horizon (model steps), A = F * a action-block size, I iterations.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.interfaces import CostFn, Plan
from worldmodel.planners.costs import Cost
from worldmodel.planners.problem import Problem, require_finite
from worldmodel.planners.sampling import white_noise
from worldmodel.planners.search import Clock, Search

KEPT = 32  # recordings, the last used ones: there is one for every number of environments that is solved for


class Snapshot(NamedTuple):
    """Where a search stands after some iterations."""

    state: Any  # the planner's own
    best: Tensor
    best_cost: Tensor
    open: Tensor | None
    curve: tuple[Tensor, ...]  # best_cost after each of the iterations
    actions: Tensor
    std: Tensor
    elites: Tensor | None


class Replay(NamedTuple):
    """A recorded function: what it returned, at a fixed place in memory, and how to fill it anew."""

    result: Snapshot
    run: Callable[[], object]


Recorder: TypeAlias = Callable[[Callable[[], Snapshot]], Replay]


class Recorded:
    """A planner whose solves are recorded when they are first asked for and replayed from then on.

    What it returns is the planner's own, of the same noise. All iterations are one graph; where the host decides after
    each of them whether to go on (a deadline, early stop), every iteration is a graph of its own. A cost function that
    is not a :class:`Cost` is not recorded: nobody knows which tensors it reads.

    Args:
        search: the planner.
        record: turns a function into a replay.
    """

    def __init__(self, search: Search[Any], record: Recorder) -> None:
        self.search, self.config, self.record = search, search.config, record
        self._recordings: dict[Hashable, _Recording] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes without the recordings, which belong to one."""
        return Recorded, (self.search, self.record)

    def population(self, iteration: int) -> int:
        """Candidates scored in an iteration."""
        return self.search.population(iteration)

    def solve(
        self,
        cost_fn: CostFn,
        start: Tensor,
        generators: Sequence[torch.Generator],
        proposals: Tensor | None = None,
        until: float | None = None,
    ) -> Plan:
        """Minimise ``cost_fn``, as ``Search.solve`` says.

        Raises:
            WorldModelError: the cost cannot be recorded, because it asks the host for a number.
        """
        if not isinstance(cost_fn, Cost):
            return self.search.solve(cost_fn, start, generators, proposals, until)
        self.search.check(start, generators, proposals)
        clock = Clock(start.device, until)
        B = len(start)
        grain = 1 << max(0, B.bit_length() - 4)  # few kinds of solves, of which up to an eighth is padding
        padded = torch.arange(-(-B // grain) * grain, device=start.device).clamp(max=B - 1)
        given = [x[padded] for x in (start, *cost_fn.inputs, *([] if proposals is None else [proposals]))]
        stepwise = until is not None or bool(getattr(self.search.config, "tolerance", 0))
        shapes = tuple((x.shape, x.dtype) for x in given)
        kind = start.device.type
        cast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        kind_of_solve = (shapes, proposals is None, stepwise, cast)
        key = (cost_fn.predictor, _places(cost_fn.predictor), cost_fn.objective, cost_fn.chunk, kind_of_solve)
        recording = self._recordings.pop(key, None)
        if recording is None:
            recording = _Recording(self.search, self.record, cost_fn, given, proposals is not None, stepwise)
        self._recordings[key] = recording  # the last used one is last
        if len(self._recordings) > KEPT:
            del self._recordings[next(iter(self._recordings))]
        return recording.solve(given, generators, clock)


class _Recording:
    """One kind of solve, in as many parts as the host wants to come in between."""

    def __init__(
        self, search: Search[Any], record: Recorder, cost: Cost, given: list[Tensor], proposes: bool, stepwise: bool
    ) -> None:
        self.search, self.stepwise = search, stepwise
        self.given = [x.clone() for x in given]
        self.start, *inputs = self.given
        self.proposals = inputs.pop() if proposes else None
        self.cost = cost.of(*inputs)
        iterations = range(search.config.iterations)
        spans = [iterations[i : i + 1] for i in iterations] if stepwise else [iterations]
        self.noise: list[list[Tensor]] = []
        with _aside(self.start.device):  # once unrecorded: libraries set themselves up when they are first used
            before = None
            for span in spans:
                self.noise.append([])
                before = self._part(span, before, partial(self._drawn, self.noise[-1]))
        self.parts: list[Replay] = []
        for span, noise in zip(spans, self.noise):
            before = self.parts[-1].result if self.parts else None
            self.parts.append(record(partial(self._recalled, span, before, noise)))

    def solve(self, given: list[Tensor], generators: Sequence[torch.Generator], clock: Clock) -> Plan:
        """Fill in what is given and new noise, and run."""
        for mine, x in zip(self.given, given, strict=True):
            mine.copy_(x)
        B = len(generators)
        for noise in itertools.chain(*self.noise):
            noise[:B] = white_noise(generators, tuple(noise.shape[1:]), like=noise)
        curve: list[Tensor] = []
        in_time = True
        for i, (found, run) in enumerate(self.parts):
            run()
            curve.extend(found.curve)
            if self.stepwise and found.open is not None and not bool(found.open[:B].any()):
                break
            if i + 1 < len(self.parts):
                in_time = clock.allows(self.search.population(i), self.search.population(i + 1))
            if not in_time:
                break
        require_finite(found.best_cost[:B])
        return Plan(
            actions=(found.actions if in_time else found.best)[:B].clone(),
            cost=found.best_cost[:B].clone(),
            best=found.best[:B].clone(),
            std=found.std[:B].clone(),
            elites=None if found.elites is None else found.elites[:B].clone(),
            stats=clock.stats(torch.stack(curve)[:, :B]),
        )

    def _part(self, span: range, before: Snapshot | None, noise: Callable[[int], Tensor]) -> Snapshot:
        """Some iterations, from where those before left off."""
        search = self.search
        first = before is None
        problem = Problem(self.cost, self.start, search.low, search.high, noise, self.proposals if first else None)
        if before is None:
            state = search.begin(problem)
        else:
            state, problem.best, problem.best_cost, problem.open = before[:4]
        curve = []
        for iteration in span:
            state = search.advanced(state, problem, iteration)
            curve.append(problem.best_cost)
        actions, std = search.result(state, problem)
        found = (problem.best, problem.best_cost, problem.open, tuple(curve))
        return Snapshot(state, *found, problem.clamp(actions), std, search.elites(state))

    def _recalled(self, span: range, before: Snapshot | None, noise: list[Tensor]) -> Snapshot:
        left = iter(noise)
        return self._part(span, before, lambda n: next(left))

    def _drawn(self, kept: list[Tensor], n: int) -> Tensor:
        like = self.start
        generator = torch.Generator(like.device).manual_seed(n)  # any noise will do
        shape = (len(like), n, *like.shape[1:])
        kept.append(torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype))
        return kept[-1]


class CudaGraphs:
    """Records functions as CUDA graphs; each may read what the ones before it returned.

    All share one pool of memory, since one is replayed after another and what it returned is copied at once.
    """

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes, each of which has a pool of its own."""
        return CudaGraphs, ()

    def __call__(self, function: Callable[[], Snapshot]) -> Replay:
        """Record one.

        Raises:
            WorldModelError: it asks the host for a number, which cannot be recorded.
        """
        graph = torch.cuda.CUDAGraph()
        torch.clear_autocast_cache()  # of weights that were cast outside, and would be gone at the next replay
        try:
            with torch.cuda.graph(graph, pool=self.pool):
                result = function()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise WorldModelError(f"this search cannot be recorded, plan with graphs=False: {reason}") from error
        finally:
            torch.clear_autocast_cache()
        return Replay(result, graph.replay)


def _places(predictor: object) -> tuple[int, ...]:
    """Where its weights lie, which is where a recording reads them."""
    if not isinstance(predictor, torch.nn.Module):
        return ()
    return tuple(x.data_ptr() for x in itertools.chain(predictor.parameters(), predictor.buffers()))


def recordable(device: torch.device) -> bool:
    """Whether the device records graphs."""
    return hasattr(torch.get_device_module(device), "CUDAGraph")


@contextmanager
def _aside(device: torch.device) -> Iterator[None]:
    """A stream of its own on an accelerator, as recording wants it for what comes before."""
    if device.type == "cpu":
        yield
        return
    module = torch.get_device_module(device)
    stream = module.Stream(device)
    stream.wait_stream(module.current_stream(device))
    with module.stream(stream):
        yield
    module.current_stream(device).wait_stream(stream)
