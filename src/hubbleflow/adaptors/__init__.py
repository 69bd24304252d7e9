"""Galaxies in other people's tools, one file a tool: GalSim, PyTorch's data loaders, Hugging Face's datasets.

Each adaptor takes a :class:`~hubbleflow.galaxies.GalaxySet` (or a generator, whose galaxies are drawn when they are asked for) and gives
what that tool's users expect, under the names that they know. Nothing is imported here: a tool is loaded by the adaptor that needs it.
"""
