"""Schedule-free SGD as the paper has it, with the protocol of the package `schedulefree`: a stand-in for the tests."""

from __future__ import annotations

from typing import Any

import torch


class ScheduleFreeSGD(torch.optim.Optimizer):
    """The model holds y = (1 - beta) z + beta x while it trains, and x, the average of the z, after `eval()`.

    z takes plain gradient steps at y. As in the package, `train_mode` stands in each group and is off at first, and x
    and y are made of each other by interpolation, which rounds.
    """

    def __init__(self, params: Any, lr: float, beta: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "beta": beta, "k": 0, "train_mode": False})

    @torch.no_grad()
    def eval(self) -> None:
        for group in self.param_groups:
            if group["train_mode"]:
                for p in group["params"]:
                    if "z" in self.state[p]:
                        p.lerp_(self.state[p]["z"], 1 - 1 / group["beta"])
            group["train_mode"] = False

    @torch.no_grad()
    def train(self) -> None:
        for group in self.param_groups:
            if not group["train_mode"]:
                for p in group["params"]:
                    if "z" in self.state[p]:
                        p.lerp_(self.state[p]["z"], 1 - group["beta"])
            group["train_mode"] = True

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        assert self.param_groups[0]["train_mode"], "not in train mode"
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["k"] += 1
            for p in group["params"]:
                if p.grad is None:
                    continue
                z = self.state[p].setdefault("z", p.detach().clone())
                p.lerp_(z, 1 - 1 / group["beta"])  # x
                z.sub_(p.grad, alpha=group["lr"])
                p.lerp_(z, 1 / group["k"])
                p.lerp_(z, 1 - group["beta"])  # y
        return loss
