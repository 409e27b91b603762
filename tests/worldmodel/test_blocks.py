"""Attention, by whatever kernel, is attention; products, by whatever kernel, keep their derivatives."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from copy import deepcopy
from io import BytesIO

import pytest
import torch
from torch.autograd import forward_ad

from tests.oracles import attention_slow
from worldmodel.attention import Attention, attend, attend_once
from worldmodel.blocks import FEW, ActionToken, ValueOnly, norm_twice, padded_plans, plain_norm
from worldmodel.products import Linear, linear, silu, watched


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


def fused_step(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.AdamW(module.parameters(), lr=0.1, fused=True).step()


def shrink(module: torch.nn.Module, how: Callable[[torch.Tensor], object]) -> None:
    for parameter in module.parameters():
        how(parameter.detach())


CHANGES: dict[str, Callable[[torch.nn.Module], None]] = {  # of none but the first does a tensor's version tell
    "in place": lambda module: shrink(module, lambda x: x.mul_(0.5)),
    "a fused step": fused_step,
    "data": lambda module: shrink(module, lambda x: x.data.mul_(0.5)),
    "numpy": lambda module: shrink(module, lambda x: x.numpy().__imul__(0.5)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("inference", [False, True])
def test_two_maps_in_one_follow_their_weights(change: str, inference: bool) -> None:
    torch.manual_seed(0)
    with torch.inference_mode(inference):
        both, x = ValueOnly(12, 20, 0.0).eval(), torch.randn(5, 12)

    def outcome(module: torch.nn.Module) -> torch.Tensor:
        with torch.inference_mode():
            return module(x).clone()

    before, size = outcome(both), len(pickle.dumps(both))
    with torch.inference_mode(inference):
        CHANGES[change](both)
    after = outcome(both)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, both.out(both.value(both.norm(x))))
    assert torch.equal(outcome(deepcopy(both)), after)
    both.zero_grad()
    assert len(pickle.dumps(both)) == size  # nothing else is kept


@pytest.mark.parametrize("follow", ["no_grad", "enable_grad"])
def test_frozen_weights_leave_derivatives_forwards(follow: str) -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(ValueOnly(12, 20, 0.0), Linear(12, 7)).eval().requires_grad_(False)
    x, direction = torch.randn(2, 5, 12)
    with getattr(torch, follow)():
        expected = (layers.double()(x.double() + 1e-6 * direction) - layers(x.double() - 1e-6 * direction)) / 2e-6
        layers.float()
        _, slope = torch.func.jvp(layers, (x,), (direction,))
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(layers(forward_ad.make_dual(x, direction))).tangent
        each = torch.func.vmap(layers)(x[:, None])[:, 0]
        torch.testing.assert_close(each, layers(x))
    torch.testing.assert_close(slope, expected.float())
    torch.testing.assert_close(tangent, expected.float())


@pytest.mark.parametrize("trained", ["value.weight", "out.weight", "out.bias"])
def test_one_parameter_of_a_frozen_module_may_be_trained(trained: str) -> None:
    both = ValueOnly(12, 20, 0.0).eval().requires_grad_(False)
    parameter = both.get_parameter(trained).requires_grad_()
    both(torch.randn(5, 12)).sin().sum().backward()
    assert parameter.grad is not None and parameter.grad.any()


@pytest.mark.parametrize("to", ["torchscript", "onnx"])
def test_products_can_be_traced(to: str) -> None:
    if to == "onnx":
        pytest.importorskip("onnx", reason="needs the extra onnx")
    layers, x = torch.nn.Sequential(ActionToken(4, 6, 8, 12), ValueOnly(12, 20, 0.0)).eval(), torch.randn(5, 4)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.export is the way, and has its own tests
        if to == "onnx":
            torch.onnx.export(layers, (x,), BytesIO(), dynamo=False)
        else:
            torch.testing.assert_close(torch.jit.trace(layers, (x,))(x), layers(x))


def test_products_where_torch_does_not_say_who_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Linear(12, 7), torch.randn(5, 12)
    with torch.no_grad():
        monkeypatch.delattr(torch._C._functorch, "peek_interpreter_stack")
        assert watched()
        assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("slopes", [False, True])
def test_a_bias_of_another_type_is_told_by_torch(slopes: bool) -> None:
    with torch.set_grad_enabled(slopes), pytest.raises(RuntimeError, match="dtype"):
        linear(torch.randn(5, 12), torch.randn(7, 12), torch.randn(7, dtype=torch.float64))


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
