"""Chapter 9: tokens, attention, the model beside PyTorch's on the same text, what it invents, and what it refuses."""
import math, re
from inspect import getsource

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from foundations import language
from foundations.autograd import Tensor, no_grad
from foundations.check import gradcheck, test_near as assert_near
from foundations.data import names
from foundations.language import GPT, Attention, Block
from foundations.nn import functional as F
from foundations.training import AdamW

many = settings(max_examples=40, deadline=None, derandomize=True, database=None)


@pytest.fixture
def rng(): return np.random.default_rng(0)
@pytest.fixture
def torch(): return pytest.importorskip("torch")
def raises(error, match): return pytest.raises(error, match=re.escape(match))
def small(seed=0, **options): return GPT(context=8, width=8, heads=2, layers=2, generator=np.random.default_rng(seed), **options)


# ---- tokens ----

@many
@given(st.text(alphabet="abcxyz", max_size=7))
def test_names_and_tokens_are_two_writings_of_one_thing(name):
    assert language.decode(language.encode(name)) == name
    x, y = language.token_rows([name, "a"], context=8)
    n = len(name)
    assert language.decode(x[0, :n + 1]) == "." + name and language.decode(y[0, :n + 1]) == name + "."
    assert (y[0, n + 1:] == -100).all() and (y >= 0).sum() == n + 3


def test_all_names_fit_twelve_places():
    x, y = language.token_rows(names())
    assert x.shape == y.shape == (5163, 12) and x.max() == 26 and set(x[:, 0]) == {0}
    with raises(ValueError, "encode: 'é' has 'é'; expected letters from a to z, lower case"): language.encode("é")
    with raises(ValueError, "token_rows: 'alejandrina' has 11 letters; 11 places hold 10 and a mark"):
        language.token_rows(["alejandrina"], 11)


@many
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_the_mean_loss_counts_what_is_there(n, t, seed):
    rng = np.random.default_rng(seed)
    y, losses = np.where(rng.random((n, t)) < 0.5, rng.integers(0, 3, (n, t)), -100), rng.random((n, t))
    y[0, 0] = 0
    assert_near(language.counted_mean(losses, y), losses[y >= 0].mean())
    logits = rng.standard_normal((n, t, 3))
    each = F.cross_entropy(logits.reshape(-1, 3), y.reshape(-1), reduction="none").data.reshape(n, t)
    assert_near(language.token_loss(lambda x: Tensor(logits), y, y).data, language.counted_mean(each, y))


def test_pairs_are_counted_each_time(rng):
    a, b = rng.integers(0, 4, (2, 500))
    counts = language.pair_counts(a, b, 5)
    assert counts.shape == (5, 5) and counts.sum() == 500 and counts[2, 3] == ((a == 2) & (b == 3)).sum()


# ---- attention ----

@many
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_attention_is_that_of_functional_and_of_torch(n, t, d, e, seed):
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(seed)
    q, k, v = rng.standard_normal((n, t, d)), rng.standard_normal((n, t, d)) * 3, rng.standard_normal((n, t, e))
    out = language.attention(q, k, v)
    assert_near(out, F.scaled_dot_product_attention(q, k, v, is_causal=True).data)
    given = [torch.tensor(x) for x in (q, k, v)]
    assert_near(out, torch.nn.functional.scaled_dot_product_attention(*given, is_causal=True), atol=1e-9)
    assert_near(out, language.attention(*given))             # the formula takes its tensors, too


def test_shares_are_softmax_of_what_is_not_later(rng):
    scores = rng.standard_normal((3, 5, 5)) * 100
    shares = language.causal_shares(scores)
    assert_near(shares.sum(-1), np.ones((3, 5)))
    assert not np.triu(shares, 1).any()
    assert_near(language.causal_shares(np.zeros((4, 4))) @ np.eye(4), language.causal_mean(np.eye(4)))


@many
@given(st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 2, 3]), st.integers(1, 3), st.integers(0, 99))
def test_heads_are_pieces_of_the_width(n, t, heads, size, seed):
    x = np.random.default_rng(seed).standard_normal((n, t, heads * size))
    out = language.split_heads(x, heads)
    assert out.shape == (n, heads, t, size)
    for h in range(heads): assert_near(out[:, h], x[:, :, h * size:(h + 1) * size])
    assert_near(language.split_heads(Tensor(x), heads).data, out)


def test_nothing_later_changes_what_was_said(rng):
    model, x = small(), rng.integers(0, 27, (3, 8))
    with no_grad():
        before = model(x).data
        x[:, 5:] = rng.integers(0, 27, (3, 3))
        after = model(x).data
    assert_near(before[:, :5], after[:, :5])
    assert np.abs(before[:, 5:] - after[:, 5:]).max() > 1e-3


def test_each_head_attends_for_itself(rng):
    module = Attention(6, 3, 5, generator=rng).double()
    x = Tensor(rng.standard_normal((2, 5, 6)))
    q, k, v = (language.split_heads(f(x).data, 3) for f in (module.query, module.key, module.value))
    by_hand = np.concatenate([language.attention(q[:, h], k[:, h], v[:, h]) for h in range(3)], -1)
    assert_near(module(x).data, module.join(Tensor(by_hand)).data)
    with raises(ValueError, "Attention: a width of 7 and 2 heads"): Attention(7, 2, 5)


def test_the_mask_is_a_buffer():
    model = small()
    assert "blocks.0.attention.later" in model.state_dict()
    assert not any("later" in name for name, _ in model.named_parameters())


# ---- the same text on PyTorch ----

def theirs(torch, ours):
    "The same classes from their own text, on PyTorch, with our numbers."
    scope = dict(nn=torch.nn, torch=torch, math=math, split_heads=language.split_heads)
    for part in (Attention, Block, GPT): exec(getsource(part), scope)
    model = scope["GPT"](context=8, width=8, heads=2, layers=2).to(torch.float64 if ours.head.weight.dtype == np.float64 else torch.float32)
    model.load_state_dict({name: torch.tensor(x) for name, x in ours.state_dict().items()})
    return model


@pytest.mark.parametrize("dtype, tol", [(np.float64, 1e-9), (np.float32, 1e-4)])
def test_two_hundred_steps_are_those_of_torch(dtype, tol, torch, rng):
    ours = small().to(dtype)
    other = theirs(torch, ours)
    assert list(ours.state_dict()) == list(other.state_dict())
    x, y = language.token_rows([name for name in names() if len(name) < 8][:64], 8)
    a, b = AdamW(ours.parameters(), 0.01), torch.optim.AdamW(other.parameters(), 0.01)
    for step in range(200):
        rows = rng.integers(len(x), size=4)
        out, out_t = ours(x[rows]), other(torch.tensor(x[rows]))
        loss, loss_t = (lib.cross_entropy(o.reshape(-1, 27), t.reshape(-1)) for lib, o, t in
                        ((F, out, y[rows]), (torch.nn.functional, out_t, torch.tensor(y[rows]))))
        for optimizer, value in ((a, loss), (b, loss_t)):
            optimizer.zero_grad()
            value.backward()
        if step == 0:
            assert_near(out.data, out_t.detach(), tol, tol)
            assert_near(loss.data, loss_t.detach(), tol)
            for p, t in zip(ours.parameters(), other.parameters()): assert_near(p.grad, t.grad, tol, tol)
        a.step()
        b.step()
    for p, t in zip(ours.parameters(), other.parameters()): assert_near(p.data, t.detach(), tol, tol)


def test_the_gradient_of_the_whole_model(rng):
    model, x, y = small().double(), *language.token_rows(["ada", "zoe"], 8)
    for p in list(model.parameters())[::7]:
        def value(w, p=p):
            before, p.data = p.data, w
            loss = language.token_loss(model, x, y).data
            p.data = before
            return loss
        def slope(dout, w, p=p):
            model.zero_grad()
            language.token_loss(model, x, y).backward()
            return (dout * p.grad,)
        gradcheck(value, slope, p.data.copy(), max_elements=5, rtol=1e-5)


# ---- inventing ----

def test_the_temperature_divides(rng):
    logits = rng.standard_normal((4, 6))
    e = np.exp(logits / 0.7)
    assert_near(language.shares_at(logits, 0.7), e / e.sum(1, keepdims=True))
    assert_near(language.shares_at(logits, 1e-4).max(1), np.ones(4))
    for wrong in (0, -1, math.nan):
        with raises(ValueError, f"shares_at: the temperature is {wrong}"): language.shares_at(logits, wrong)


def test_a_seed_invents_the_same_names_twice():
    model = small()
    one, other = (language.invent(model, 5, np.random.default_rng(3)) for _ in range(2))
    assert one == other and len(one) == 5 and all(len(name) <= 8 for name in one)
    assert one != language.invent(model, 5, np.random.default_rng(4))


def test_drawn_letters_have_the_shares_of_the_model():
    model = small()
    firsts = [name[:1] for name in language.invent(model, 4000, np.random.default_rng(0))]
    with no_grad(): shares = language.shares_at(model(np.array([[0]])).data[0, -1], 1.0)
    found = np.array([firsts.count(letter) for letter in ["", *language.LETTERS[1:]]]) / 4000
    assert np.abs(found - shares).max() < 0.03


# ---- sizes ----

@pytest.mark.parametrize("vocab, context, width, layers", [(27, 12, 24, 2), (5, 3, 4, 0), (7, 9, 6, 3)])
def test_the_count_is_that_of_the_model(vocab, context, width, layers):
    model = GPT(vocab, context, width, heads=2, layers=layers)
    size = language.size_of(vocab, context, width, layers)
    assert size.parameters == sum(p.numel() for p in model.parameters()) and size.bytes == 4 * size.parameters
    assert size.flops > 2 * sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "blocks" in name)


def test_learning_stops_at_nothing_but_steps(rng):
    model, x, y = small(), *language.token_rows(["ada", "eve", "ida"], 8)
    losses = language.learn(model, AdamW(model.parameters(), 0.02), x, y, 40, rng, batch=3)
    assert len(losses) == 40 and losses[-1] < losses[0] / 2
    assert all(isinstance(loss, float) for loss in losses)
    with raises(ValueError, "GPT: 9 tokens, and a window of 8"): model(np.zeros((1, 9), int))
