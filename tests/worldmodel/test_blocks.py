"""Attention, by whatever kernel, is attention."""

from __future__ import annotations

import pytest
import torch

from tests.oracles import attention_slow
from worldmodel.attention import Attention, attend, attend_once
from worldmodel.blocks import FEW, norm_twice, padded_plans, plain_norm
from worldmodel.products import Linear, silu


def with_gradients(f: object, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: bool) -> list[torch.Tensor]:
    leaves = [x.detach().requires_grad_() for x in (q, k, v)]
    y = f(*leaves, **options)  # type: ignore[operator]
    y.double().sin().sum().backward()
    return [x.double() for x in (y.detach(), *(leaf.grad for leaf in leaves))]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_attend_agrees_with_its_slow_twin(dtype: torch.dtype, error: float, causal: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(4, 3, 33, 16, generator=generator).to(dtype) for _ in range(3))
    for got, expected in zip(
        with_gradients(attend, q, k, v, causal=causal), with_gradients(attention_slow, q, k, v, causal=causal)
    ):
        assert (got - expected).norm() < error * expected.norm()


def test_a_single_query() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(4, 3, n, 16, generator=generator, dtype=torch.float64) for n in (1, 33, 33))
    for got, expected in zip(with_gradients(attend_once, q, k, v), with_gradients(attention_slow, q, k, v)):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)


def test_in_bfloat16_no_token_sees_a_later_one() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, 7, 8, generator=generator).bfloat16() for _ in range(3))
    before = attend(q, k, v, causal=True)
    k[:, :, 4:], v[:, :, 4:] = 9, -9
    after = attend(q, k, v, causal=True)
    assert torch.equal(after[:, :, :4], before[:, :, :4]) and not torch.equal(after[:, :, 4:], before[:, :, 4:])


def test_dropout_in_bfloat16_keeps_the_mean() -> None:
    torch.manual_seed(0)
    q = torch.randn(8, 4, 64, 16).bfloat16()
    y = attend(q, q, torch.ones_like(q), dropout=0.5).float()
    assert abs(y.mean() - 1) < 0.02 and y.std() > 0.05


@pytest.mark.parametrize("options", [{}, {"bias": False, "norm": True, "head_dim": 5}])
def test_the_first_token_alone(options: dict[str, int]) -> None:
    torch.manual_seed(0)
    attention = Attention(12, 3, **options).double()  # type: ignore[arg-type]
    x = torch.randn(4, 9, 12, dtype=torch.float64)
    torch.testing.assert_close(attention.first(x), attention(x)[:, :1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("past", [0, 3])
@pytest.mark.parametrize("wanted", [[4], [2], [0, 1], [1, 3, 4], range(5)])
def test_tokens_that_follow_others(past: int, wanted: list[int]) -> None:
    torch.manual_seed(0)
    attention = Attention(12, 3, causal=True, norm=True).double()
    before, x = torch.randn(2, past, 12).double(), torch.randn(6, 5, 12).double()
    told = attention.tell(attention.norm(before)) if past else None
    normed = attention.norm(x)
    found = attention.ask(normed, attention.tell(normed, told), wanted)
    whole = attention(torch.cat([before.repeat_interleave(3, dim=0), x], dim=1))[:, past:]
    torch.testing.assert_close(found, whole[:, [*wanted]], rtol=1e-12, atol=1e-14)


def test_two_norms_in_one() -> None:
    torch.manual_seed(0)
    norm = torch.nn.LayerNorm(12).double()
    torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
    for size in (1e-4, 1e-2, 1.0, 100.0):
        x = size * torch.randn(9, 12, dtype=torch.float64) + size
        torch.testing.assert_close(norm_twice(x, norm), norm(plain_norm(x)), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("then", ["none", "gelu", "swish"])
def test_products_by_the_faster_kernel(then: str) -> None:
    torch.manual_seed(0)
    layer, x = Linear(37, 53), torch.randn(300, 37)
    slow = layer(x, then)  # where a gradient is wanted
    with torch.no_grad():
        fast = layer(x, then)
        torch.testing.assert_close(fast, slow.detach())
        for rows in (2, 3, 15, 16, 299):
            assert torch.equal(layer(x[:rows], then), fast[:rows])


@pytest.mark.parametrize("threads", [1, 5])
def test_a_number_is_rounded_the_same_everywhere(threads: int) -> None:
    x, before = torch.randn(1600 * 33, generator=torch.Generator().manual_seed(0)), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        y = silu(x)
        assert all(torch.equal(silu(x[:size]), y[:size]) for size in (1, 15, 33, 16_011, 40_001))
        torch.testing.assert_close(y, torch.nn.functional.silu(x))
        steep = torch.tensor([-1e4, -90.0, 0.0, 90.0, 1e4], requires_grad=True)
        (slope,) = torch.autograd.grad(silu(steep).sum(), steep)
        torch.testing.assert_close(slope, torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("b", "n"), [(1, 1), (3, 4), (5, 3), (1, 16), (20, 1)])
def test_candidates_are_repeated_until_they_are_enough(b: int, n: int) -> None:
    plans = torch.randn(b, n, 2, 3)
    padded = padded_plans(plans)
    assert b * padded.shape[1] >= FEW and torch.equal(padded[:, :n], plans)
    assert b * n < FEW or padded is plans
