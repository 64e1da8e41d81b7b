import torch

from benchmarks.vgg16 import PROJECT
from compressor.config import load_project
from compressor.factories import call_factory
from compressor.pruning.candidate import prunable


def test_its_project_builds_it_and_every_layer_but_the_last_can_be_cut() -> None:
    project = load_project(PROJECT)
    assert project.model.factory is not None
    network = call_factory(project.model.factory, project.model.kwargs, root=PROJECT.parent)
    assert isinstance(network, torch.nn.Module)
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_684_842
    images = torch.randn(4, *project.input.size, generator=torch.Generator().manual_seed(0))
    dense = prunable(network.eval(), images, seed=0)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(dense.groups) == len(convolutions) == 13
    assert dense.model(images).shape == (4, 10)
