"""Networks trained one by one: a plain PyTorch loop step by step, whatever the group; bf16, compiled, diverged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from mixup_theory.annealing import Schedule
from mixup_theory.experiments.config import IMAGE_SHAPES, RunConfig, grid
from mixup_theory.experiments.datasets import Streams, load_dataset, run_dataset
from mixup_theory.experiments.draws import draw_epoch, stack_draws
from mixup_theory.experiments.image_batches import flip_crop
from mixup_theory.experiments.manifold import StateMixes
from mixup_theory.experiments.networks import build_network, first_weights, mlp, stages, with_weights
from mixup_theory.experiments.optimizers import lr_factor
from mixup_theory.experiments.separate import SeparateNetworks
from mixup_theory.experiments.stacked import StackedMLP
from mixup_theory.experiments.training import _networks, form_groups, group_size, train_group

CNN = RunConfig(network="cnn", hidden=(3, 4), num_train=48, batch_size=8, epochs=2, outputs=("test_logits", "weights"))
EXACT = CNN.replace(dtype="float64")
MIXUP = EXACT.replace(method="mixup", alpha=1.0, lam_per="sample")
RESNET = EXACT.replace(network="resnet18", hidden=(2,), num_train=24, epochs=1)


def plain_loop(config):
    """Train one run with torch's own modules, losses, optimisers; every mix is written out again."""
    data, streams, shape = run_dataset(config), Streams(config.seed), IMAGE_SHAPES[config.dataset]
    net = build_network(config, data.x_train.shape[1:], data.num_classes)
    with_weights(net, first_weights(net, streams.init)).train()
    settings = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "adamw":
        optimizer = torch.optim.AdamW(net.parameters(), **settings)
    else:
        optimizer = torch.optim.SGD(net.parameters(), momentum=config.momentum, nesterov=config.nesterov, **settings)
    images = torch.tensor(data.x_train.reshape(-1, *shape))
    rows = torch.tensor(((1 - config.label_smoothing) * np.eye(10) + config.label_smoothing / 10)[data.y_train])
    for epoch in range(config.epochs):
        drawn = draw_epoch(config, streams, len(rows), config.batch_size, epoch)
        steps = len(drawn.position)
        for t in range(steps):
            position, partner = drawn.position[t], drawn.partner[t].copy()
            lam, label_lam = torch.tensor(drawn.lam[t]), torch.tensor(drawn.label_lam[t])[:, None]
            state = images[position]
            if drawn.moves is not None:
                state = flip_crop(state, torch.tensor(drawn.moves[t]))
            if drawn.boxes is not None:
                own = state.clone()
                for b, (top, bottom, left, right) in enumerate(drawn.boxes[t]):
                    own[b, :, top:bottom, left:right] = state[partner[b], :, top:bottom, left:right]
                state, lam = own, torch.ones_like(lam)
            for k, part in enumerate(stages(net)):
                if k == drawn.layer[t, 0]:
                    weight = lam.view(-1, *[1] * (state.ndim - 1))
                    state = weight * state + (1 - weight) * state[partner]
                state = part(state)
            y = rows[position]
            loss = functional.cross_entropy(state, label_lam * y + (1 - label_lam) * y[partner])
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * lr_factor(config.lr_schedule, (epoch + t / steps) / config.epochs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return net.eval()(torch.tensor(data.x_test)).numpy(), loss.item()


@pytest.mark.parametrize(
    "config",
    [
        EXACT.replace(label_smoothing=0.1),
        MIXUP.replace(partner="independent", lr_schedule="cosine"),
        MIXUP.replace(method="manifold", mix_layers=(0, 1, 2), weight_decay=1e-3, nesterov=True),
        MIXUP.replace(method="cutmix", optimizer="adamw", learning_rate=0.003, alpha=Schedule("linear", 2.0, total=2)),
        MIXUP.replace(method="cutmix", lam_per="batch", label_mixing="hard", augment="flip-crop"),
        MIXUP.replace(augment="flip-crop", lam_per="pair", partner="flip", lr_schedule="one-cycle"),
        RESNET.replace(method="manifold", alpha=1.0, mix_layers=(0, 1, 2, 3, 4), lam_per="sample"),
        RESNET.replace(method="mixup", alpha=1.0, augment="flip-crop"),
    ],
    ids=["erm", "mixup", "manifold", "cutmix", "cutmix-hard", "mixup-pairs", "resnet-manifold", "resnet-mixup"],
)
def test_a_run_is_what_a_plain_loop_gives(config):
    [result] = train_group([config])
    logits, _ = plain_loop(config)
    np.testing.assert_allclose(result.arrays["test_logits"], logits, rtol=1e-8, atol=1e-9)
    assert result.row["status"] == "ok"


def test_gradient_is_that_of_the_stacked_program():
    configs = [
        RunConfig(method="manifold", alpha=1.0, mix_layers=(0, 1, 2), lam_per="sample", partner="independent"),
        RunConfig(method="mixup", alpha=1.0),
    ]
    rng = np.random.default_rng(0)
    module = mlp(6, (5, 4), 3).double()
    weights = [first_weights(module, rng) for _ in configs]
    x, y = torch.tensor(rng.normal(size=(2, 8, 6))), torch.tensor(rng.dirichlet(np.ones(3), (2, 8)))
    drawn = stack_draws([draw_epoch(c, Streams(r), 80, 8, 0) for r, c in enumerate(configs)], 80)
    mixes = StateMixes(drawn, torch.float64)
    for loss in ("cross_entropy", "squared_error"):
        stacked = StackedMLP(weights, loss, torch.float64)
        separate = SeparateNetworks(module, weights, loss, torch.float64)
        for step in range(10):  # keep: the gradients are summed up as momentum does
            one, two = (n.gradient(x, y, mixes=mixes.at(step), with_loss=True, keep=0.5) for n in (stacked, separate))
            torch.testing.assert_close(one, two, rtol=1e-12, atol=0)
        blocks = stacked.spread_blocks(stacked.grads)
        for r in range(2):
            own = torch.cat([block[r].flatten() for block in blocks.values()])
            torch.testing.assert_close(separate.grads.view(2, -1)[r], own, rtol=1e-11, atol=1e-15)
        torch.testing.assert_close(separate.logits(x), stacked.logits(x), rtol=1e-12, atol=1e-14)
        assert separate.per_run([1.0, 2.0]).view(2, -1).unique(dim=1).tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_alone_or_in_any_group_a_run_is_the_same(dtype, tolerance):
    base = CNN.replace(dtype=dtype, hidden=(2,), epochs=1)
    mixup = base.replace(method="mixup", alpha=1.0)
    manifold = base.replace(method="manifold", alpha=1.0, mix_layers=(0, 1))
    configs = [
        *grid(mixup, seed=range(8), lam_per=["batch", "sample"]),
        *grid(manifold, seed=range(12)),
        *grid(base, seed=range(4)),
    ]
    assert len(configs) == 32

    def logits(group):
        return {result.config: result.arrays["test_logits"] for result in train_group(group)}

    together = logits(configs)
    for group in [configs[::-1], *(configs[k : k + 7] for k in range(0, 32, 7)), *([c] for c in configs[::5])]:
        for config, values in logits(group).items():
            assert np.abs(values - together[config]).max() <= tolerance


def test_anything_but_an_mlp_is_trained_alone():
    assert group_size(CNN) == group_size(RESNET) == 1
    assert [len(group) for group in form_groups(grid(CNN, seed=range(3)))] == [1, 1, 1]


def test_a_diverged_run_is_marked_and_its_neighbour_untouched():
    good = CNN.replace(loss="squared_error", learning_rate=0.01)
    bad, beside = train_group([good.replace(learning_rate=1e8, seed=1), good])
    [alone] = train_group([good])
    assert bad.row["status"] == "diverged"
    assert np.isnan(bad.row["test_accuracy"])
    assert beside.row["status"] == "ok"
    np.testing.assert_allclose(beside.arrays["test_logits"], alone.arrays["test_logits"], atol=1e-5)


def test_weights_hold_the_counts_of_batch_normalisation():
    [result] = train_group([RESNET])
    weights = {k.removeprefix("weights."): v for k, v in result.arrays.items() if k.startswith("weights.")}
    net = build_network(RESNET, (64,), 10)
    assert weights.keys() == net.state_dict().keys()
    assert weights["4.norm.num_batches_tracked"] == 3
    data = run_dataset(RESNET)
    with torch.no_grad():
        logits = with_weights(net, weights)(torch.tensor(data.x_test)).numpy()
    np.testing.assert_allclose(logits, result.arrays["test_logits"], rtol=1e-9, atol=1e-12)


def test_alpha_zero_is_erm_when_one_lam_permutes_the_whole_batch():
    erm, limit = train_group([RESNET, RESNET.replace(method="mixup", alpha=0.0)])
    np.testing.assert_allclose(limit.arrays["test_logits"], erm.arrays["test_logits"], rtol=0, atol=1e-9)
    assert limit.row["batch_loss"] == pytest.approx(erm.row["batch_loss"], rel=1e-9)


def gradients(config, **options):
    data = run_dataset(config)
    net = build_network(config, (64,), 10)
    weights = [first_weights(net, np.random.default_rng(0))]
    program = SeparateNetworks(
        net, weights, "cross_entropy", torch.float32, image_shape=IMAGE_SHAPES["digits"], **options
    )
    drawn = draw_epoch(config, Streams(0), 24, 24, 0)
    x = torch.tensor(data.x_train[None, :24], dtype=torch.float32)
    y = functional.one_hot(torch.tensor(data.y_train[None, :24]), 10).float()
    loss = program.gradient(x, y, mixes=StateMixes(drawn, torch.float32).at(0), with_loss=True)
    return program, loss.item(), program.grads.clone(), program.logits(x)


MANIFOLD32 = RESNET.replace(dtype="float32", method="manifold", alpha=1.0, mix_layers=(2,), hidden=(4,))


def test_bf16_multiplies_coarsely_and_keeps_weights_in_float32():
    exact, loss, grads, logits = gradients(MANIFOLD32)
    coarse, coarse_loss, coarse_grads, coarse_logits = gradients(MANIFOLD32, bf16=True)
    assert torch.equal(exact.params, coarse.params)
    assert coarse.params.dtype == coarse_grads.dtype == coarse_logits.dtype == torch.float32
    assert 0 < abs(loss - coarse_loss) < 0.05 * loss
    assert 0 < (grads - coarse_grads).norm() < 0.5 * grads.norm()  # 24 examples to normalise over
    assert not torch.equal(logits, coarse_logits)


def test_compiled_parts_give_the_same():
    _, loss, grads, logits = gradients(MANIFOLD32)
    _, compiled_loss, compiled_grads, compiled_logits = gradients(MANIFOLD32, backend="aot_eager")
    assert compiled_loss == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(compiled_grads, grads, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(compiled_logits, logits, rtol=1e-3, atol=1e-4)


def counting():
    """A compiler that compiles nothing, and the list of what it was asked for."""
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    return backend, compiled


def test_every_network_is_compiled_whatever_the_process_has_trained():
    torch._dynamo.reset()
    backend, compiled = counting()
    for width in range(2, 14):  # Dynamo's own limit is 8
        before, module = len(compiled), mlp(width, (), 3)
        weights = [first_weights(module, np.random.default_rng(0))]
        program = SeparateNetworks(module, weights, "cross_entropy", torch.float32, backend=backend)
        program.gradient(torch.ones(1, 4, width), torch.ones(1, 4, 3) / 3)
        assert len(compiled) == before + 1
    shapes = {
        tuple(node.meta["example_value"].shape) for g in compiled for node in g.graph.find_nodes(op="placeholder")
    }
    assert all(type(size) is int for shape in shapes for size in shape)


def test_pieces_of_all_sizes_are_evaluated_by_one_program():
    torch._dynamo.reset()
    backend, compiled = counting()
    module = mlp(5, (4,), 3)
    weights = [first_weights(module, np.random.default_rng(r)) for r in range(2)]
    plain = SeparateNetworks(module, weights, "cross_entropy", torch.float32)
    program = SeparateNetworks(module, weights, "cross_entropy", torch.float32, backend=backend)
    x = torch.randn(2, 16, 5, generator=torch.Generator().manual_seed(0))
    for rows in (16, 7, 0, 16, 1):
        logits = program.logits(x[:, :rows])
        assert logits.shape == (2, rows, 3)
        torch.testing.assert_close(logits, plain.logits(x)[:, :rows])
    assert len(compiled) == 1


def test_only_precision_bf16_is_coarse_and_only_a_gpu_compiles(monkeypatch):
    built = []

    class Told(SeparateNetworks):
        def __init__(self, *args, bf16, backend, **options):
            built.append((bf16, backend))
            super().__init__(*args, bf16=bf16, **options)

    monkeypatch.setattr("mixup_theory.experiments.training.SeparateNetworks", Told)
    run = RESNET.replace(dtype="float32")
    fine, coarse = (train_group([run.replace(precision=p)])[0] for p in ("float32", "bf16"))
    assert built == [(False, ""), (True, "")]
    assert not np.array_equal(fine.arrays["test_logits"], coarse.arrays["test_logits"])
    assert coarse.row["status"] == "ok"
    with monkeypatch.context() as patch:
        patch.setattr(Told, "__init__", lambda self, *_, bf16, backend, **__: built.append((bf16, backend)))
        data = load_dataset("digits")
        for p in ("float32", "bf16"):
            _networks(run.replace(precision=p), data, [Streams(0)], "cuda")
    assert built[2:] == [(False, ""), (True, "inductor")]


def test_weights_lie_in_one_buffer_with_the_channels_last():
    program, *_ = gradients(MANIFOLD32)
    net = program._networks[0]
    convolutions = [p for p in net.parameters() if p.ndim == 4 and p.shape[2] == 3]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in convolutions)
    before = {name: value.copy() for name, value in program.weights(0).items()}
    program.params.mul_(2)
    for name, value in program.weights(0).items():
        if "running" not in name and "tracked" not in name:
            np.testing.assert_array_equal(value, 2 * before[name])
