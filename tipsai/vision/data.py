"""DataLoaders of pictures: from folders, tables of paths, a labelling function, or arrays."""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import pandas as pd

from tipsai.core.errors import DataError, SettingError, nearest
from tipsai.core.text import amount
from tipsai.data.block import Block
from tipsai.data.datablock import EncodedItems
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import ItemLoader, Loader, RowLoader, check_bs
from tipsai.data.processor import Standardize
from tipsai.data.split import column_split
from tipsai.data.workers import default_workers
from tipsai.vision import defaults, folders, parts, show, tables
from tipsai.vision.augment import Augment, Augmentation
from tipsai.vision.blocks import ImageBlock, MaskBlock, PointBlock, some
from tipsai.vision.checks import judge_size
from tipsai.vision.items import NAMES, Items
from tipsai.vision.new import NewPictures, as_items, emptied
from tipsai.vision.parts import Part
from tipsai.vision.rows import PictureRows, memory_budget
from tipsai.vision.targets import TASK_OF, TASKS, in_outline, in_pixels, infer_task, one_by_one, points_of, target_block
from tipsai.vision.view import Kind, View, views

log = logging.getLogger("tipsai")


class ImageOptions(TypedDict, total=False):
    """What all the ways to make ImageDataLoaders share.

    Attributes:
        size: pixels of what the model sees, one side or (height, width); by the pictures by default.
        bs: pictures a batch; by their size and number by default.
        seed: of the split, where a share of the training pictures validates.
        aug: the augmentation of training pictures; "auto" suits their size, None leaves it out.
        channels: 1 (luminance), 3 (RGB) or 4 (RGBA); by default 1 where all pictures are grey, else 3.
        view: how evaluation brings a picture of another shape to size: "crop", "squish" or "pad"; by default "crop", and
            "squish" for masks and points.
        n_workers: processes that decode what does not fit in memory; by the machine by default.
        cache: whether to keep decoded pictures in memory; by default where they take at most a sixth of it.
        like: loaders whose size, normalisation and classes to use as they are; so a reloaded model trains further on new
            pictures: load_learner(path, dls=ImageDataLoaders.from_folder(folder, like=load_learner(path).dls)).
        values: of the classes in masks; those that occur in training masks by default.
        names: of those classes; their values by default.
        ignore: a mask's value that does not count, such as 255.
    """

    size: int | tuple[int, int] | None
    bs: int | None
    seed: int
    aug: "Augmentation | str | None"
    channels: int | None
    view: str | None
    n_workers: int | None
    cache: bool | None
    like: "ImageDataLoaders | None"
    values: Sequence[int] | None
    names: Sequence[str] | None
    ignore: int | None


class ImageDataLoaders(DataLoaders):
    """Loaders of pictures.

    Attributes:
        task: "classification", "multilabel", "regression", "points" or "segmentation".
        aug: the augmentation of training pictures.
        items: the items of each part, in the order of its loader before shuffling.
        targets: likewise.
        side: the pictures' own shorter side, of the middle one, in pixels; None where there are none.
    """

    task: str
    side: int | None = None
    aug: Augmentation | None
    items: dict[str, Sequence[Any]]
    targets: dict[str, Sequence[Any]]

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        *,
        test: str | Path | None = None,
        valid: float | None = None,
        task: str | None = None,
        **options: Unpack[ImageOptions],
    ) -> Self:
        """From a folder with a folder for each class, or with pictures and masks; see folders.from_folder.

        Args:
            path: class folders, perhaps within train, valid (or val) and test.
            test: another folder of the same layout, that learn.test() opens.
            valid: the share of the training pictures that validates, where there is no valid folder; by
                defaults.valid_share if None.
            task: "classification" or "segmentation"; told from the layout by default.
            **options: see ImageOptions.

        Raises:
            DataError: there are no pictures, one class alone, or masks that do not fit.
        """
        found = folders.from_folder(path)
        holds, fitting = ("masks", "segmentation") if found.masks else ("a folder for each class", "classification")
        if not found.masks and found.labels is None:
            raise DataError(
                f"{path} holds pictures without labels; expected a folder for each class (path/cat/1.jpg), or images and masks. "
                "Where a name tells the label, use ImageDataLoaders.from_function."
            )
        if task in TASKS and task != fitting:  # an unknown one is refused with the others
            raise SettingError(
                f"task is {task!r}, and {path} holds {holds}, which is {fitting}. Leave task out; where a table holds the "
                "targets, use ImageDataLoaders.from_csv."
            )
        given = _by_part(found)
        if test is not None:
            if "test" in given:
                raise SettingError(f"test is given, and {path} has a test folder of its own; give one of them.")
            given["test"] = _whole(folders.from_folder(test))
        return cls._from_items(found, given, task or fitting, valid, options)

    @classmethod
    def from_df(
        cls,
        df: pd.DataFrame,
        path: str,
        target: str | Sequence[str],
        *,
        root: str | Path = "",
        suffix: str = "",
        label_delim: str | None = None,
        part: str | None = None,
        test_df: pd.DataFrame | None = None,
        valid: float | None = None,
        task: str | None = None,
        **options: Unpack[ImageOptions],
    ) -> Self:
        """From a table with a row a picture; see tables.from_frame.

        Args:
            df: the table.
            path: the column of paths.
            target: the column to predict, or several: of 0 and 1 for several labels, of numbers for regression, of x and y
                in pixels, alternately, with task="points", of the masks' paths with task="segmentation".
            root: the folder that the paths begin in.
            suffix: to be added to each path, such as ".jpg".
            label_delim: what separates several labels in one cell.
            part: the column that says train, valid or test.
            test_df: another table with these columns, that learn.test() opens.
            valid: the share of the training pictures that validates, where no column says so; see from_folder.
            task: "classification", "multilabel", "regression", "points" or "segmentation"; told from the targets, but for
                the last two, by default.
            **options: see ImageOptions.

        Raises:
            ColumnError: a column is not there.
            DataError: files are missing (listed), or targets.
        """
        masks = task == "segmentation"
        y_block = PointBlock(points_of(target)) if task == "points" else None

        def read(frame: pd.DataFrame, part: str | None) -> Items:
            found = tables.from_frame(
                frame, path, target, root, suffix=suffix, label_delim=label_delim, part_column=part, masks=masks
            )
            return replace(found, labels=in_outline(found.paths, found.labels or [])) if task == "points" else found

        found = read(df, part)
        given = _by_part(found)
        if test_df is not None:
            if "test" in given:
                raise SettingError(f"test_df is given, and the column {part!r} says test, too; give one of them.")
            given["test"] = _whole(read(test_df, None))
        return cls._from_items(found, given, task, valid, options, y_block)

    @classmethod
    def from_csv(cls, csv: str | Path, path: str, target: str | Sequence[str], **options: Any) -> Self:
        """From a CSV file, whose folder the paths begin in; for the other arguments see from_df."""
        options.setdefault("root", Path(csv).parent)
        return cls.from_df(pd.read_csv(csv, dtype={path: str}), path, target, **options)

    @classmethod
    def from_function(
        cls,
        paths: str | Path | Sequence[str | Path],
        label: Callable[[Path], Any] | str,
        *,
        valid: float | None = None,
        task: str | None = None,
        **options: Unpack[ImageOptions],
    ) -> Self:
        """From paths that tell the target: by a function, or a regular expression whose group is the label.

        With task="segmentation" the function gives the path of a picture's mask. See tables.from_function.
        """
        found = tables.from_function(paths, label, masks=task == "segmentation")
        return cls._from_items(found, _by_part(found), task, valid, options)

    @classmethod
    def _from_items(
        cls,
        found: Items,
        given: dict[str, Part],
        task: str | None,
        valid: float | None,
        options: ImageOptions,
        y_block: Block | None = None,
    ) -> Self:
        for note in found.notes:
            log.info("%s", note)
        return cls._make(given, task, 0.0 if "valid" in given else valid, y_block, **options)

    @classmethod
    def from_arrays(
        cls,
        train: Any,
        valid: Any = None,
        test: Any = None,
        *,
        task: str | None = None,
        **options: Unpack[ImageOptions],
    ) -> Self:
        """From pictures in memory.

        Args:
            train: (pictures, targets); pictures uint8 [n, h, w], [n, c, h, w] or [n, h, w, c]; targets as in from_df.
            valid: likewise; or the share of the training pictures that validates, 0 for none; see from_folder.
            test: likewise, opened by learn.test() alone.
            task: told from the targets by default.
            **options: see ImageOptions.

        Raises:
            DataError: these are no pictures, or the targets do not fit.
        """
        given: dict[str, Part] = {}
        is_share = valid is None or isinstance(valid, float | int)
        for name, pair in (("train", train), ("valid", None if is_share else valid), ("test", test)):
            if pair is None:
                continue
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise DataError(f"{name} is a {type(pair).__name__}; expected a pair (pictures, targets).")
            pictures, targets = list(parts.planes(pair[0])), one_by_one(pair[1])
            if len(pictures) != len(targets):
                raise DataError(f"{name} has {len(pictures)} pictures and {len(targets)} targets; expected as many.")
            given[name] = Part(pictures, targets, pictures)
        return cls._make(given, task, valid if is_share else 0.0, **options)

    @classmethod
    def _make(
        cls,
        given: Mapping[str, Part],
        task: str | None,
        share: float | None,
        y_block: Block | None = None,
        **options: Unpack[ImageOptions],
    ) -> Self:
        """Reads, splits, fits the blocks on training pictures, and makes the loaders."""
        for name in options.keys() - ImageOptions.__annotations__.keys():
            known = ", ".join(ImageOptions.__annotations__)
            raise SettingError(
                f"there is no option {name!r}.{nearest(name, ImageOptions.__annotations__)} Expected one of {known}."
            )
        made = cls(None)
        like = options.get("like")
        of_masks = {name: options.get(name) for name in ("values", "names", "ignore")}
        if like is not None and any(options.get(name) is not None for name in ("size", "channels", "view", *of_masks)):
            raise SettingError(
                "like is given, so size, channels, view, values, names and ignore would be ignored; leave them out."
            )
        made.task = infer_task(given["train"].targets, task or (like.task if like is not None else None))
        if like is not None and made.task != like.task:
            raise SettingError(f"like is for {like.task}, and these pictures are for {made.task}; leave like out.")
        if made.task != "segmentation" and any(setting is not None for setting in of_masks.values()):
            raise SettingError(f"values, names and ignore are for masks, and the task is {made.task}; leave them out.")
        x_block, kept = made._plan(given, options)
        readable = made._readable(given, x_block, kept)
        if share != 0 and "valid" not in readable:
            readable |= parts.split(readable["train"], made.task, share, options.get("seed", 0))
        train = readable["train"]
        if len(train) < 2:
            raise DataError(f"there are {len(train)} pictures to train on; expected at least 2, and rather hundreds.")
        if like is not None:
            assert like.blocks is not None
            y_block = like.blocks[1]
        else:
            if train.pictures is None:
                x_block.fit(train.items)
            else:
                x_block.fit_pixels(some(train.pictures))
            if y_block is None:
                is_masks = made.task == "segmentation"
                y_block = MaskBlock(**of_masks) if is_masks else target_block(made.task, train.targets)  # type: ignore[arg-type]
            y_block.fit(train.targets)
        if made.task == "classification" and y_block.n_out == 1:
            raise DataError(f"all pictures are of the class {train.targets[0]!r}; expected at least two classes.")
        made.blocks = (x_block, y_block)
        usual_bs = defaults.batch_size(x_block.size, len(train), made.task == "segmentation")
        made.base_bs = min(usual_bs, defaults.BASE_BS)
        bs = options.get("bs")
        made._load(readable, usual_bs if bs is None else check_bs(bs), options.get("n_workers"))
        made.n_epochs = defaults.n_epochs(len(train))
        made._transform()
        made._say(readable)
        return made

    def _plan(self, given: Mapping[str, Part], options: ImageOptions) -> tuple[ImageBlock, bool]:
        """The picture's block, as far as a look at the headers tells, and whether pictures are kept in memory."""
        seen = parts.look(given["train"].items)
        self.side = seen.side
        like = options.get("like")
        if like is not None:
            self.aug = _augmentation(options.get("aug", "auto"), like.picture.size)
            return like.picture, self._kept(given, seen, like.picture.at_least, options)
        size = as_size(defaults.picture_size(seen.sizes) if options.get("size") is None else options["size"])  # type: ignore[arg-type]
        for verdict in judge_size({"side": self.side, "size": size}):
            log.info("%s", verdict.message)  # whoever asks the doctor hears it again, with what to do
        self.aug = _augmentation(options.get("aug", "auto"), size)
        view = options.get("view") or ("squish" if self.task in ("segmentation", "points") else "crop")
        need = defaults.at_least(size, self.aug.scale[0] if self.aug is not None else 1.0)
        channels = options.get("channels")
        if channels not in (None, 1, 3, 4):
            raise SettingError(f"channels is {channels!r}; expected 1 (grey), 3 (RGB) or 4 (RGBA).")
        if view not in ("crop", "squish", "pad"):
            raise SettingError(f"view is {view!r}; expected 'crop', 'squish' or 'pad'.")
        mirrored = self.aug is None or self.aug.flip > 0
        block = ImageBlock(size, channels or seen.channels, need, view, mirrored=mirrored)
        return block, self._kept(given, seen, need, options)

    @staticmethod
    def _kept(given: Mapping[str, Part], seen: parts.Look, need: int | None, options: ImageOptions) -> bool:
        cache = options.get("cache")
        return sum(map(len, given.values())) * seen.bytes_each(need) <= memory_budget() if cache is None else cache

    def _readable(self, given: Mapping[str, Part], block: ImageBlock, kept: bool) -> dict[str, Part]:
        """Without what cannot be read, which is said."""
        made: dict[str, Part] = {}
        reasons: dict[str, str] = {}
        for name, part in given.items():
            if self.task == "segmentation":
                part, faults = parts.sound(part)
                reasons |= faults
            made[name], faults = parts.read(part, block, kept)
            reasons |= faults
        if reasons:
            self.findings.append(parts.unreadable(reasons, sum(map(len, given.values()))))
            log.warning("%s", self.findings[-1])
        return made

    def _load(self, readable: Mapping[str, Part], bs: int, n_workers: int | None) -> None:
        assert self.blocks is not None
        self.items = {name: part.items for name, part in readable.items()}
        self.targets = {name: part.targets for name, part in readable.items()}
        workers = default_workers() if n_workers is None else n_workers
        for name, part in readable.items():
            training = name == "train"
            at_once = bs if training else 2 * bs  # no gradients are kept
            loader: Loader
            if part.pictures is not None:
                targets = [self.blocks[1].encode(target) for target in part.targets]
                loader = RowLoader(PictureRows(part.pictures, targets, self.blocks), at_once, shuffle=training)
            else:
                data = EncodedItems(self.blocks, part.items, part.targets)
                loader = ItemLoader(data, at_once, shuffle=training, n_workers=workers, collate=data.collate)
            setattr(self, name, loader)

    def _transform(self) -> None:
        """The warp from what lies in memory to what the model sees, for the blocks and augmentation as they are now."""
        assert self.blocks is not None
        block = self.picture
        kind: Kind = getattr(self.blocks[1], "geometry", "label")
        plain = View(block.size, block.mean, block.std, kind, block.view)
        self.batch_tfms = (Augment(self.aug, plain),)
        looks = views(plain, flip=block.mirrored)
        # points can be mirrored, but not what they mean: a left eye would be a right one
        self.views = tuple((look,) for look in looks) if kind != "points" and len(looks) > 1 else ()

    @classmethod
    def for_prediction(cls, blocks: tuple[Block, Block]) -> Self:
        """Loaders without pictures, for a reloaded model."""
        made = cls(None, blocks=blocks)
        made.task = TASK_OF[type(blocks[1])]
        made.aug, made.items, made.targets = None, {}, {}
        made._transform()
        return made

    @property
    def picture(self) -> ImageBlock:
        assert self.blocks is not None
        block = self.blocks[0]
        assert isinstance(block, ImageBlock)
        return block

    @property
    def augment(self) -> Augment:
        """The batch transform of these pictures."""
        found = self.batch_tfms[0]
        assert isinstance(found, Augment)
        return found

    def show_transforms(self, i: int = 0, n: int = 4, split: str = "train") -> Any:
        """One picture at every stage of its way to the model, as a figure (DA02); see vision.show.transforms."""
        return show.transforms(self, i, n, split)

    def resized(self, size: int | tuple[int, int], bs: int | None = None) -> Self:
        """These pictures at another size, for progressive resizing (DA03): learn.dls = learn.dls.resized(128).

        The pictures, their split and the blocks are shared. Pictures are read anew only if they lie on the disk.
        """
        made = copy.copy(self)
        assert made.blocks is not None
        block = copy.copy(self.picture)
        block.size = as_size(size)
        if block.at_least is not None and self.train is not None and isinstance(self.train, ItemLoader):
            block.at_least = defaults.at_least(block.size, self.aug.scale[0] if self.aug else 1.0)
        made._with_picture(block, bs)
        return made

    def normalized(self, mean: Sequence[float], std: Sequence[float]) -> Self:
        """These pictures normalised by other statistics, such as those of a backbone's training (DA12)."""
        made = copy.copy(self)
        block = copy.copy(self.picture)
        block.normalization = Standardize()
        made._with_picture(block.normalize(mean, std), None)
        return made

    def _with_picture(self, block: ImageBlock, bs: int | None) -> None:
        """Takes another picture block, in the loaders that encode as well."""
        assert self.blocks is not None
        self.blocks = (block, self.blocks[1])
        for name in ("train", "valid", "test"):
            loader = getattr(self, name)
            if loader is None:
                continue
            loader = copy.copy(loader)
            if isinstance(loader, ItemLoader):
                data = loader.dataset
                loader.dataset = EncodedItems(self.blocks, data.x, data.y)
                loader.collate = loader.dataset.collate
            if bs is not None:
                loader.bs = check_bs(bs) if name == "train" else 2 * bs
            setattr(self, name, loader)
        self._transform()

    # --- new pictures ---------------------------------------------------------------------------------------------

    def test_dl(self, items: Any, bs: int | None = None) -> NewPictures:
        """A loader of new pictures: a folder, a path, several paths, PIL pictures or arrays.

        One that cannot be read is blank, which is said; see new.NewPictures.

        Raises:
            DataError: there is no such file, or no picture in the folder.
        """
        return NewPictures(as_items(items), self.picture, 2 * self.bs if bs is None else bs)

    def present(self, items: Any, loader: Any, columns: dict[str, Any]) -> pd.DataFrame:
        """A row a picture, with its path where it has one; points in pixels of the picture as it is.

        A picture that could not be read has empty cells, and the reason stands in a column `problem`, which is there only
        then.
        """
        if self.task == "points":
            columns = in_pixels(columns, self.picture, loader.items)
        if loader.problems:
            columns = {name: emptied(values, loader.problems) for name, values in columns.items()}
            columns["problem"] = [loader.problems.get(i, "") for i in range(loader.n_items)]
        return pd.DataFrame(columns, index=pd.Index(loader.names, name="path"))

    def _say(self, readable: Mapping[str, Part]) -> None:
        sizes = ", ".join(f"{len(readable[name]):,} {name}" for name in NAMES if name in readable)
        kept = "in memory" if readable["train"].pictures is not None else "read when needed"
        block = self.picture
        size = f"{block.size[0]}x{block.size[1]} pixels, {amount(block.channels, 'channel')}"
        log.info("pictures: %s, %s; task: %s; the model sees %s", sizes, kept, self.task, size)


def _by_part(found: Items) -> dict[str, Part]:
    """The items of "train", "valid" and "test"."""
    everything = _whole(found)
    if found.parts is None:
        return {"train": everything}
    places = dict(zip(("train", "valid", "test"), column_split(found.parts), strict=True))
    return {name: everything.at(index) for name, index in places.items() if len(index)}


def _whole(found: Items) -> Part:
    return Part(found.paths, found.masks or found.labels or ())


def _augmentation(given: Augmentation | str | None, size: tuple[int, int]) -> Augmentation | None:
    if given is None or isinstance(given, Augmentation):
        return given
    if given != "auto":
        raise SettingError(f"aug is {given!r}; expected 'auto', None, or an Augmentation(...).")
    return Augmentation.small() if max(size) <= defaults.SMALL else Augmentation()


def as_size(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width).

    Raises:
        SettingError: these are no pixels.
    """
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in pair):
        raise SettingError(f"size is {size!r}; expected pixels, one side or (height, width).")
    return (pair[0], pair[1])
