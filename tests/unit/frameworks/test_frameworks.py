"""Frameworks: the seed's images, one bit each, and who may replace an image."""

from __future__ import annotations

from hypernode_worker.core.definition import FrameworkName, JobDefinition
from hypernode_worker.core.image_reference import parse_image_reference
from hypernode_worker.frameworks import all_bits, framework, image_of

SEED_IMAGES = {
    "pytorch": "pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime",
    "huggingface": "huggingface/transformers-pytorch-gpu:latest",
    "stable-diffusion": "stabilityai/stable-diffusion:latest",
    "ollama": "ollama/ollama:latest",
}


def test_the_seeds_images_are_kept() -> None:
    for name, image in SEED_IMAGES.items():
        assert framework(FrameworkName(name)).image == image


def test_each_framework_is_whole() -> None:
    specs = [framework(name) for name in FrameworkName]
    assert [spec.name for spec in specs] == list(FrameworkName)
    assert len({spec.bit for spec in specs}) == len(specs)
    assert all_bits() == 0b11111
    for spec in specs:
        assert parse_image_reference(spec.image) is not None
        assert bool(spec.default_command) == (spec.name is not FrameworkName.CUSTOM)


def test_the_definitions_image_comes_before_the_operators_before_the_frameworks() -> None:
    plain = JobDefinition.from_dict({"framework": "pytorch", "operations": [{"type": "run"}]})
    chosen = plain.model_copy(update={"image": "mine:1"})
    assert image_of(plain, {}) == SEED_IMAGES["pytorch"]
    assert image_of(plain, {"pytorch": "operators:1", "ollama": "x"}) == "operators:1"
    assert image_of(chosen, {"pytorch": "operators:1"}) == "mine:1"
