"""Movies: galaxies through cosmic time, as numbers; pictures are made of them in :mod:`hubbleflow.report`.

evolve(generator, seeds, redshifts)    -> Track: images and what was measured of them
frame_redshifts(3.0, 0.1, 60)          redshifts of frames, evenly spaced in lookback time
Population.measured / .generated       galaxies that tracks are seen against
smoothness(track), trends(track, population)
write_cube(track, "OUT.fits"), write_film(pictures, "OUT.mp4", fps=15)
"""

from hubbleflow.movies.cube import write_cube
from hubbleflow.movies.evolve import asked_redshifts, evolve
from hubbleflow.movies.film import check_movie_path, write_film
from hubbleflow.movies.population import Population
from hubbleflow.movies.quantities import Quantity, quantities
from hubbleflow.movies.redshifts import frame_redshifts, lookback_time_gyr
from hubbleflow.movies.smoothness import Change, Smoothness, smoothness
from hubbleflow.movies.track import Track
from hubbleflow.movies.trend import Trend, trends

__all__ = [
    "Change",
    "Population",
    "Quantity",
    "Smoothness",
    "Track",
    "Trend",
    "asked_redshifts",
    "check_movie_path",
    "evolve",
    "frame_redshifts",
    "lookback_time_gyr",
    "quantities",
    "smoothness",
    "trends",
    "write_cube",
    "write_film",
]
