"""Reproduce a paper: train its models, ask them what it asked, judge them as everything is judged here, and set its own numbers beside.

reproduce(find_paper("li2024"), folder, Settings(minutes=30))     -> Comparison; reproduce.json, .md and .html in the folder
"""

from hubbleflow.reproduce.comparison import Comparison, Entry
from hubbleflow.reproduce.paper import PAPERS, SIDE_BY_SIDE, Column, Paper, find_paper
from hubbleflow.reproduce.run import reproduce
from hubbleflow.reproduce.settings import Settings

__all__ = ["PAPERS", "SIDE_BY_SIDE", "Column", "Comparison", "Entry", "Paper", "Settings", "find_paper", "reproduce"]
