"""A project folder with code of its own, as a user would have it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

USER_CODE = """
import argparse
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).mean((2, 3)))

def net(width=4):
    return Net(width)

def parallel_net():
    return nn.DataParallel(Net())

def compiled_net():
    return torch.compile(Net())

def meta_net():
    with torch.device("meta"):
        return Net()

def exported_net():
    return torch.export.export(Net().eval(), (torch.zeros(1, 3, 8, 8),)).module()

def scripted_net():
    return torch.jit.trace(Net().eval(), torch.zeros(1, 3, 8, 8), check_trace=False)

def failing():
    raise LookupError("no such width")

def settings():
    return {"width": 4}
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A project folder whose module user_nets is forgotten after the test."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "user_nets.py").write_text(USER_CODE)
    yield folder
    sys.modules.pop("user_nets", None)


@pytest.fixture
def net(root: Path) -> nn.Module:
    sys.path.insert(0, str(root))
    try:
        import user_nets  # type: ignore[import-not-found]  # written by the fixture above
    finally:
        sys.path.remove(str(root))
    made: nn.Module = user_nets.net()
    return made
