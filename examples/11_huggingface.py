"""Galaxies as a Hugging Face dataset: written as Parquet shards, opened, filtered, and fed to PyTorch.

New here: `to_hugging_face`. The set is never in memory as a whole; the folder that is written opens by `datasets.load_dataset(FOLDER)`, or
by anything that reads Parquet, and its card says what every column is. With `--push USER/NAME` it goes to the hub.

    python examples/11_huggingface.py [SET.h5] [--out FOLDER] [--push USER/NAME]

Without a set a mock sky is made and measured. Needs `pip install 'hubbleflow[huggingface]'`. Models go there and back as well:
`Generator.load("model").push_to_hub("USER/NAME")` and `Generator.from_pretrained("USER/NAME")`.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from hubbleflow.adaptors.huggingface_datasets import to_hugging_face
from hubbleflow.counting import counting
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import measure_file
from hubbleflow.simulate import simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("galaxies", nargs="?", type=Path, help="an HDF5 file of galaxies (none: a mock sky)")
    parser.add_argument("--n", type=int, default=500, help="galaxies of the mock sky")
    parser.add_argument("--out", type=Path, default=Path("runs/11_huggingface"))
    parser.add_argument("--push", metavar="USER/NAME", help="also upload it, as a private dataset")
    arguments = parser.parse_args()

    path = arguments.galaxies
    if path is None:
        path = arguments.out / "sky.h5"
        simulate(path, n=arguments.n, seed=1)
        measure_file(path)
    galaxies = GalaxySet.open(path)
    wanted = ["redshift", "category", "i_mag", "i_half_light_radius", "i_isophotal_area"]
    columns = [name for name in wanted if name in galaxies.columns or name in galaxies.measured]

    folder = arguments.out / "dataset"
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run
    with counting("writing shards", len(galaxies)) as on_progress:
        dataset = to_hugging_face(galaxies, folder, columns, push_to=arguments.push, private=True, on_progress=on_progress)
    print(dataset)
    print(f"{folder}: {', '.join(str(shard.relative_to(folder)) for shard in sorted(folder.glob('data/*')))}, README.md")

    # From here on it is a dataset like any other; a filter reads the columns that it names, and no image.
    near = dataset.filter(lambda redshift: redshift < 0.5, input_columns="redshift")
    print(f"{len(near)} of {len(dataset)} galaxies at z < 0.5")
    if "category" in dataset.features:
        print(f"kinds: {', '.join(dataset.features['category'].names)}")
    batch = near.with_format("torch")[:8]
    print(f"a batch: image {tuple(batch['image'].shape)} {batch['image'].dtype}, redshift {tuple(batch['redshift'].shape)}")


if __name__ == "__main__":
    main()
