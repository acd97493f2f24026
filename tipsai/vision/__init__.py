"""Floor 5: pictures."""

from tipsai.vision.augment import Augmentation
from tipsai.vision.blocks import ImageBlock, MaskBlock, PointBlock
from tipsai.vision.data import ImageDataLoaders
from tipsai.vision.learner import vision_learner

__all__ = ["Augmentation", "ImageBlock", "ImageDataLoaders", "MaskBlock", "PointBlock", "vision_learner"]
