"""How right and how fast the renderer is, beside GalSim.

    OMP_NUM_THREADS=1 python bench/render.py [--profiles 500] [--n 256] [--repeats 5]      (four minutes)

Truth: random Sersic profiles (n 0.5-6, R_e 0.1-3 arcsec, q 0.2-1, any angle and sub-pixel centre) under Moffat PSFs of 0.6-0.8 arcsec
against GalSim with its accuracy turned up: largest pixel difference over the peak, and flux on the stamp.

Speed: one core, five HSC bands, 64 pixels, with noise, bulges and discs of the mock sky, in CPU milliseconds a galaxy. All competitors
draw the same catalogue in turn, so that a busy machine slows them alike, and each repeat gives one ratio. GalSim is helped: its noise is
a plain Gaussian where ours follows the source too, discs are exponential, and bulges' n are rounded to halves, so that its tables stand
before the clock starts; what it takes with every bulge's own n is a line of its own. Tuned by hand means: accuracy as low as still gives
galaxies (the error is printed), one PSF for all bands, each component drawn once and mixed into the bands by its fluxes. Structured
galaxies: the same with 200 blobs each, and the mock sky's own with their bars, arms, knots, dust and neighbours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import galsim
import numpy as np
import torch
from in_words import in_words

from hubbleflow.simulate.blobs import Blobs
from hubbleflow.simulate.noise import add_noise
from hubbleflow.simulate.psf import Moffat
from hubbleflow.simulate.render import PERIODS, Components, Renderer
from hubbleflow.simulate.scene import draw_scene
from hubbleflow.survey import Survey

SIZE, SEED, BLOBS = 64, 1, 200
HSC = Survey.get("hsc-wide")
SCALE = HSC.pixel_scale_arcsec
EXACT = galsim.GSParams(folding_threshold=5e-4, maxk_threshold=2e-4, kvalue_accuracy=1e-6, maximum_fft_size=32768)
LOOSE = galsim.GSParams(folding_threshold=0.1, maxk_threshold=0.05, kvalue_accuracy=1e-3, xvalue_accuracy=1e-3, minimum_fft_size=64)
STAGES = ("periods", "_grid", "_profile", "_place", "_mix", "_add_blobs", "_filter", "_to_pixels", "_unwrap")


# -- truth -----------------------------------------------------------------------------------------------------------------------
def truth(count: int) -> None:
    """Print how far our images are from GalSim's."""
    rng = np.random.default_rng(SEED)
    n, q, angle = rng.uniform(0.5, 6, count), rng.uniform(0.2, 1, count), rng.uniform(-90, 90, count)
    radius, (x, y) = np.exp(rng.uniform(np.log(0.1), np.log(3), count)), rng.uniform(-0.5, 0.5, (2, count)) * SCALE
    seeing = rng.choice([0.6, 0.65, 0.7, 0.75, 0.8], count)
    peak, flux = np.empty(count), np.empty(count)
    for fwhm in np.unique(seeing):
        rows = np.flatnonzero(seeing == fwhm)
        parts = (torch.as_tensor(v[rows])[:, None] for v in (n, radius, q, angle, x, y))
        ours = Renderer(SIZE, SCALE, Moffat((fwhm,)))(Components(*parts, flux=torch.ones(len(rows), 1, 1)))[:, 0].numpy()
        psf = galsim.Moffat(beta=2.5, fwhm=fwhm)
        for row, image in zip(rows, ours, strict=True):
            galaxy = galsim.Sersic(n[row], half_light_radius=radius[row] * np.sqrt(q[row]))
            galaxy = galaxy.shear(q=q[row], beta=angle[row] * galsim.degrees).shift(x[row], y[row])
            exact = galsim.Convolve(galaxy, psf, gsparams=EXACT).drawImage(nx=SIZE, ny=SIZE, scale=SCALE).array
            peak[row], flux[row] = np.abs(image - exact).max() / exact.max(), abs(image.sum() / exact.sum() - 1)
    print(f"\nagainst GalSim, {count} random profiles      median      90 %      99 %   largest   at (n, R_e, q, seeing)")
    for name, error in (("pixel difference / peak", peak), ("flux on the stamp", flux)):
        worst = int(error.argmax())
        where = f"{n[worst]:.2f}, {radius[worst]:.2f}, {q[worst]:.2f}, {seeing[worst]:.2f}"
        print(f"{name:38s}" + "".join(f"{v:10.1e}" for v in np.quantile(error, [0.5, 0.9, 0.99, 1])) + f"   {where}")


# -- speed -----------------------------------------------------------------------------------------------------------------------
def catalogue(count: int, rounded: bool = True) -> Components:
    """Bulges and discs of the mock sky; `rounded` to the Sersic indices that GalSim likes best."""
    blocks = [draw_scene(SEED, b, HSC, SIZE, neighbours=False, structure=False).components for b in range(-(-count // 256))]
    both = {name: torch.cat([getattr(c, name) for c in blocks])[:count] for name in vars(blocks[0])}
    both["sersic_index"][:, 1] = 1
    if rounded:
        both["sersic_index"][:, 0] = (2 * both["sersic_index"][:, 0]).round().div(2).clamp(0.5, 6)
    return Components(**both)


def knots(galaxies: Components) -> Blobs:
    """Blobs over each galaxy's disc, with a tenth of its light."""
    g = torch.Generator().manual_seed(SEED)
    count = len(galaxies)
    spread = galaxies.half_light_radius[:, 1:].clamp(max=3)
    x, y = torch.randn(2, count, BLOBS, generator=g) * spread
    sigma = 0.05 + 0.2 * torch.rand(count, BLOBS, generator=g)
    return Blobs(x, y, sigma, torch.full((count, BLOBS), 0.1 / BLOBS), galaxies.flux.sum(dim=1))


def ours(galaxies: Components, blobs: list[Blobs], renderer: Renderer | None = None) -> np.ndarray:
    """A pointing: its PSF, its images, their noise."""
    renderer = renderer or Renderer(SIZE, SCALE, Moffat(HSC.psf_fwhm_arcsec))
    images = renderer(galaxies, blobs).numpy()
    return add_noise(images, HSC, SEED, np.arange(len(images)), correlated=False, sky_residual=False)


def profile(n: float, radius: float, q: float, angle: float, x: float, y: float) -> galsim.GSObject:
    """A component of unit flux."""
    radius *= np.sqrt(q)
    galaxy = galsim.Exponential(half_light_radius=radius) if n == 1 else galsim.Sersic(n, half_light_radius=radius)
    return galaxy.shear(q=q, beta=angle * galsim.degrees).shift(x, y)


def per_object(rows: list, flux: np.ndarray) -> np.ndarray:
    """GalSim as its tutorial has it: per galaxy and band, bulge plus disc, convolved, drawn."""
    psfs = [galsim.Moffat(beta=2.5, fwhm=fwhm) for fwhm in HSC.psf_fwhm_arcsec]
    rng, images = np.random.default_rng(SEED), np.empty((len(rows), len(psfs), SIZE, SIZE), np.float32)
    for i, components in enumerate(rows):
        bulge, disc = (profile(*values) for values in components)
        for band, psf in enumerate(psfs):
            galaxy = galsim.Convolve(bulge * flux[i, 0, band] + disc * flux[i, 1, band], psf)
            galaxy.drawImage(galsim.Image(images[i, band], scale=SCALE))
            images[i, band] += rng.standard_normal((SIZE, SIZE), dtype=np.float32) * np.float32(HSC.noise[band])
    return images


def tuned(rows: list, flux: np.ndarray, accuracy: galsim.GSParams = LOOSE, noise: bool = True) -> np.ndarray:
    """GalSim at its fastest: see the top of this file."""
    psf = galsim.Moffat(beta=2.5, fwhm=float(np.median(HSC.psf_fwhm_arcsec)), gsparams=accuracy)
    sigma = np.array(HSC.noise, np.float32)[:, None, None]
    rng, images = np.random.default_rng(SEED), np.empty((len(rows), len(sigma), SIZE, SIZE), np.float32)
    parts = np.empty((2, SIZE, SIZE), np.float32)
    for i, components in enumerate(rows):
        for part, values in zip(parts, components, strict=True):
            galsim.Convolve(profile(*values), psf, gsparams=accuracy).drawImage(galsim.Image(part, scale=SCALE))
        np.matmul(flux[i].T, parts.reshape(2, -1), out=images[i].reshape(len(sigma), -1))
        if noise:
            images[i] += rng.standard_normal(images[i].shape, dtype=np.float32) * sigma
    return images


def as_rows(galaxies: Components) -> tuple[list, np.ndarray]:
    """(n, R_e, q, angle, x, y) of each component of each galaxy, and the fluxes."""
    values = (value for name, value in vars(galaxies).items() if name != "flux")
    return torch.stack(list(values), dim=-1).tolist(), galaxies.flux.numpy()


def speed(count: int, repeats: int) -> None:
    """Print CPU milliseconds a galaxy and the ratios to GalSim's."""
    galaxies = catalogue(count)
    rows, flux = as_rows(galaxies)
    own_n = as_rows(catalogue(160, rounded=False))  # more than GalSim remembers tables of; each takes tens of milliseconds
    scene = draw_scene(SEED, 0, HSC, SIZE)
    runs: dict[str, Callable[[], np.ndarray]] = {
        "GalSim, default, every own n": lambda: per_object(*own_n),
        "GalSim, default": lambda: per_object(rows, flux),
        "GalSim, tuned by hand": lambda: tuned(rows, flux),
        "ours": lambda: ours(galaxies, []),
        f"ours, {BLOBS} blobs each": lambda: ours(galaxies, [knots(galaxies)]),
        "ours, the mock sky's galaxies": lambda: ours(scene.components, scene.blobs),
    }
    images = {name: run() for name, run in runs.items()}  # tables and caches are filled
    seconds = {name: np.empty(repeats) for name in runs}
    for repeat in range(repeats):
        for name, run in runs.items():
            start = time.process_time()
            run()
            seconds[name][repeat] = time.process_time() - start
    each = {name: 1e3 * values / len(images[name]) for name, values in seconds.items()}
    default, by_hand = each["GalSim, default"], each["GalSim, tuned by hand"]
    print(f"\n{len(galaxies)} galaxies, {repeats} repeats         ms/galaxy (least)    default / it             tuned / it")
    for name, ms in each.items():
        ratios = "".join(f"{np.median(r):12.2f} ({r.min():.2f}-{r.max():.2f})" for r in (default / ms, by_hand / ms))
        print(f"{name:32s}{np.median(ms):10.2f} ({ms.min():.2f})" + ratios)
    some, light = rows[:30], flux[:30]
    exact = tuned(some, light, EXACT, noise=False)
    error = np.abs(tuned(some, light, noise=False) - exact).max(axis=(1, 2, 3)) / exact.max(axis=(1, 2, 3))
    print(f"GalSim tuned by hand is wrong by {np.median(error):.1e} of the peak (largest {error.max():.1e}), its one PSF apart")
    start = time.process_time()
    pointing = Renderer(SIZE, SCALE, Moffat(HSC.psf_fwhm_arcsec, (2.31, 2.42, 2.53, 2.64, 2.75)))
    for period in PERIODS:
        pointing._grid(period)
    print(f"a pointing of its own (five new seeings and betas): {1e3 * (time.process_time() - start):.1f} ms")
    stages("ours", galaxies, [])
    stages(f"ours, {BLOBS} blobs each", galaxies, [knots(galaxies)])
    stages("ours, the mock sky's galaxies", scene.components, scene.blobs)


def stages(name: str, galaxies: Components, blobs: list[Blobs]) -> None:
    """Print where the time of one run goes, by timing the renderer's methods."""
    renderer = Renderer(SIZE, SCALE, Moffat(HSC.psf_fwhm_arcsec))
    spent = dict.fromkeys(STAGES, 0.0)

    def timed(stage: str) -> Callable:
        method = getattr(renderer, stage)

        def run(*arguments):
            start = time.process_time()
            result = method(*arguments)
            spent[stage] += time.process_time() - start
            return result

        return run

    for stage in STAGES:
        setattr(renderer, stage, timed(stage))
    start = time.process_time()
    images = renderer(galaxies, blobs).numpy()
    drawn = time.process_time()
    add_noise(images, HSC, SEED, np.arange(len(images)), correlated=False, sky_residual=False)
    spent |= {"the rest": drawn - start - sum(spent.values()), "noise": time.process_time() - drawn}
    print(f"\n{name}, by stage, ms/galaxy: " + ", ".join(f"{stage.strip('_')} {1e3 * s / len(images):.3f}" for stage, s in spent.items()))


def gpu(count: int, repeats: int) -> None:
    """Print images a second on a GPU, where there is one."""
    if not torch.cuda.is_available():
        print("\nno GPU here: images a second on one were not measured")
        return
    galaxies = catalogue(count)
    for name, blobs in (("bulge and disc", []), (f"{BLOBS} blobs each", [knots(galaxies)])):
        renderer = Renderer(SIZE, SCALE, Moffat(HSC.psf_fwhm_arcsec), device="cuda")
        best = np.inf
        for _ in range(repeats + 1):
            torch.cuda.synchronize()
            start = time.perf_counter()
            renderer(galaxies, blobs)
            torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        print(f"\n{torch.cuda.get_device_name()}, {name}, five bands, no noise: {count / best:.0f} galaxies/s")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profiles", type=int, default=500, help="random profiles of the comparison with GalSim")
    parser.add_argument("--n", type=int, default=256, help="galaxies of the timing")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    speed(arguments.n, arguments.repeats)
    gpu(arguments.n, arguments.repeats)
    truth(arguments.profiles)


if __name__ == "__main__":
    in_words(main)
