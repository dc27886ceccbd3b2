"""Networks of any kind behind the face of `StackedMLP`: automatic gradient, one run after the other.

Why not many at once: `torch.func.vmap` turns R convolutions into one grouped one, for which the CPU has no fast path.
Measured with the CNN of channels (16, 32), 8 runs, one thread, processor time of vmap over that of the loop: 1.4 and
1.7 on 8x8 images at batch 32 and 128, 1.1 and 5.1 on 1x28x28, 1.4 and 4.0 on 3x32x32. So the rule: an MLP is stacked,
anything else is trained alone, and `training.group_size` is 1 for it. With the channels last a step of this CNN took
0.58 to 0.73 of the time, and an evaluation a third to a half.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .manifold import StateMix
from .networks import stages, with_weights

__all__ = ["SeparateNetworks", "set_precision"]


def set_precision() -> None:
    """Let float32 on a GPU mean float32: TF32 off, and the same kernels in every run.

    Speed comes from `precision="bf16"` where a config asks for it, never from a silent change of all products: one key
    in the cache means one arithmetic, wherever the run is trained.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


class SeparateNetworks:
    """R networks of one kind; the weights and gradients of each run are one stretch of a flat buffer.

    Attributes:
        params: All weights, run by run.
        grads: Gradients in the same order, filled by `gradient`.
        num_runs: R.
        num_params: Number of parameters of one run.
    """

    def __init__(
        self,
        network: nn.Module,
        weights: Sequence[Mapping[str, NDArray]],
        loss: str,
        dtype: torch.dtype,
        device: str = "cpu",
        *,
        image_shape: tuple[int, int, int] | None = None,
        bf16: bool = False,
        backend: str = "",
    ) -> None:
        """Copy the network R times and fill in the weights.

        Args:
            network: From `networks.build_network`.
            weights: For each run, arrays by name, as `networks.first_weights` gives them.
            loss: `cross_entropy` or `squared_error`.
            dtype: Precision of weights and gradients.
            device: Where the program runs.
            image_shape: Channels, height and width; inputs are then laid out with the channels last.
            bf16: Multiply in bfloat16 (autocast); the weights stay in `dtype`.
            backend: Compiler for the network, such as `inductor`; none if empty. Every network gets programs of its own
                sizes: what the process compiled before changes none of them.
        """
        self.loss, self.dtype, self.bf16, self.image_shape = loss, dtype, bf16, image_shape
        self.device_type = torch.device(device).type
        self.num_runs = len(weights)
        self.num_params = sum(parameter.numel() for parameter in network.parameters())
        self.params = torch.empty(self.num_runs * self.num_params, dtype=dtype, device=device)
        self.grads = torch.zeros_like(self.params)
        self._networks = [with_weights(copy.deepcopy(network), w).to(device, dtype) for w in weights]
        for run, one in enumerate(self._networks):
            self._place(one, run * self.num_params)
        self._parts = [stages(one) for one in self._networks]
        self._piece = 0  # rows that compiled evaluations are filled up to
        self._through = _compiled(backend) if backend else _through

    def _place(self, network: nn.Module, start: int) -> None:
        """Move the parameters of one network, and their gradients, into the flat buffers."""
        for parameter in network.parameters():
            end = start + parameter.numel()
            values = parameter.detach()
            for name, buffer in (("data", self.params), ("grad", self.grads)):
                view = buffer[start:end].view(self._stored(values).shape)
                view = view.permute(0, 3, 1, 2) if self._last(values) else view
                if name == "data":
                    view.copy_(values)
                setattr(parameter, name, view)
            start = end

    def _last(self, values: Tensor) -> bool:
        return values.ndim == 4 and self.image_shape is not None

    def _stored(self, values: Tensor) -> Tensor:
        """Return the values in the order in which they are stored: the channels last where that is asked for."""
        return values.permute(0, 2, 3, 1) if self._last(values) else values

    def per_run(self, values: Sequence[float]) -> Tensor:
        """Return a flat buffer that holds, at each parameter, the value of its run.

        Args:
            values: One number per run.

        Returns:
            The buffer, laid out like `params`.
        """
        return self.params.new_tensor(values).repeat_interleave(self.num_params)

    def weights(self, run: int) -> dict[str, NDArray]:
        """Return the state of one run by name: its parameters, and what batch normalisation has counted.

        Args:
            run: Its position.

        Returns:
            Copies as numpy arrays.
        """
        state = self._networks[run].state_dict()
        return {name: value.cpu().contiguous().numpy().copy() for name, value in state.items()}

    def _forward(self, run: int, x: Tensor, mixes: Mapping[int, StateMix] | None = None) -> Tensor:
        """Return the logits of one run, hidden states mixed where `mixes` says so."""
        if self.image_shape is not None:
            x = x.view(-1, *self.image_shape).contiguous(memory_format=torch.channels_last)
        own = {k: mix.one_run(run, self.num_runs) for k, mix in (mixes or {}).items()}
        with torch.autocast(self.device_type, torch.bfloat16, enabled=self.bf16):
            return self._through(self._parts[run], x, own).to(self.dtype)

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Return the logits of every run; batch normalisation uses its running statistics.

        Args:
            x: Inputs of each run, shape [R, n, D].

        Returns:
            Shape [R, n, K].
        """
        for network in self._networks:
            network.eval()
        rows = x.shape[1]
        if self._through is not _through:  # one program for pieces of all sizes
            self._piece = max(self._piece, rows)
            x = functional.pad(x, (0, 0, 0, self._piece - rows))
        return torch.stack([self._forward(run, inputs)[:rows] for run, inputs in enumerate(x)])

    def gradient(
        self,
        x: Tensor,
        y: Tensor,
        *,
        mixes: Mapping[int, StateMix] | None = None,
        with_loss: bool = False,
        keep: float = 0.0,
    ) -> Tensor | None:
        """Set `grads` to `keep` times what they hold plus the gradient of each run's mean loss over its batch.

        Args:
            x: Inputs, shape [R, B, D].
            y: Label rows, shape [R, B, K].
            mixes: Hidden states that are mixed, by number; state k is what comes out of part k of the network.
            with_loss: Also return the losses, at the weights before any step.
            keep: Factor on the present content of `grads`, >= 0.

        Returns:
            Losses of shape [R], or None.
        """
        self.grads.mul_(keep)
        losses = []
        for run, network in enumerate(self._networks):
            network.train()
            with torch.enable_grad():
                logits = self._forward(run, x[run], mixes)
                if self.loss == "cross_entropy":
                    loss = functional.cross_entropy(logits, y[run])
                else:
                    loss = (logits - y[run]).square().sum(dim=1).mean() / 2
                loss.backward()  # adds to the gradients where they lie, in the flat buffer
            losses.append(loss.detach())
        return torch.stack(losses) if with_loss else None

    @torch.no_grad()
    def finite(self) -> NDArray[np.bool_]:
        """Return which runs are still made of finite numbers.

        Returns:
            Shape [R].
        """
        return self.params.view(self.num_runs, -1).isfinite().all(dim=1).cpu().numpy()


def _compiled(backend: str) -> Callable[..., Tensor]:
    """Return `_through` compiled for each network, size and mixed state, an error where Dynamo would give up.

    By default Dynamo runs a function uncompiled from its eighth program on, and makes sizes that have changed variable:
    a run would then depend on what its process trained before.
    """
    limits = torch._dynamo.config
    limits.recompile_limit = limits.accumulated_recompile_limit = 4096
    limits.fail_on_recompile_limit_hit = True
    return torch.compile(_through, backend=backend, dynamic=False)


def _through(parts: Sequence[nn.Module], x: Tensor, mixes: Mapping[int, StateMix]) -> Tensor:
    """Take inputs to logits, hidden states mixed on the way."""
    for k, part in enumerate(parts, 1):
        x = part(x)
        x = mixes[k].forward(x) if k in mixes else x
    return x
