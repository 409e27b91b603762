from __future__ import annotations

import torch

from worldmodel.benchmarks import clocks


def test_every_call_is_timed_until_there_are_enough():
    calls = []
    assert len(clocks.times(lambda: calls.append(1), 0.0, "cpu", least=3)) == len(calls) == 3
    found = clocks.clock(lambda: sum(range(1000)), 0.0, "cpu", least=5)
    assert found["cpu_s"] > 0 and 0 < found["wall_s"] <= found["total_s"]


def test_operations_of_products_and_attention_are_counted():
    a, q = torch.ones(4, 8), torch.ones(1, 2, 3, 5)
    assert clocks.count(lambda: a @ a.T) == 2 * 4 * 8 * 4
    attention = clocks.count(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q))
    assert attention == 2 * (2 * 2 * 3 * 5 * 3)
    if torch.backends.mkldnn.is_available():
        linear = torch.ops.mkldnn._linear_pointwise
        assert clocks.count(lambda: linear(a[None], torch.ones(3, 8), None, "gelu", [], "none")) == 2 * 4 * 8 * 3


def test_the_ceiling_is_that_of_the_best_library():
    for bf16 in (False, True):
        found = clocks.ceiling({"device": "cpu", "bf16": bf16})
        assert min(found["wall"], found["cpu"]) > 1e8


def test_memory_of_a_call_is_its_own():
    if clocks.peak("cpu") is None:
        return  # nobody says
    for _ in range(2):  # what an earlier call has freed does not hide what a later one needs
        found = clocks.extra(lambda: torch.ones(25_000_000).sum(), "cpu")
        assert found is None or 95 < found < 160
