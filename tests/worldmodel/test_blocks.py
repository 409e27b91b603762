"""Attention, by whatever kernel, is attention."""

from __future__ import annotations

import pytest
import torch

from tests.oracles import attention_slow
from worldmodel.blocks import Attention, attend


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
