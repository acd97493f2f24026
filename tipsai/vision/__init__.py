"""Floor 5: pictures."""

from tipsai.vision.augment import Augmentation
from tipsai.vision.blocks import ImageBlock, MaskBlock, PointBlock
from tipsai.vision.data import ImageDataLoaders
from tipsai.vision.invariance import invariances
from tipsai.vision.learner import vision_learner
from tipsai.vision.progressive import Progressive

__all__ = [
    "Augmentation",
    "ImageBlock",
    "ImageDataLoaders",
    "MaskBlock",
    "PointBlock",
    "Progressive",
    "invariances",
    "vision_learner",
]
