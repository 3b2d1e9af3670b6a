# made by `make docs` from the contents in __init__.py; change them there
from netassay.reporting.chart import lines as lines
from netassay.reporting.chart import small_multiples as small_multiples
from netassay.reporting.export import save_figure as save_figure
from netassay.reporting.heat import heat_map as heat_map
from netassay.reporting.logo import logo as logo
from netassay.reporting.logo import logos as logos
from netassay.reporting.page import write_page as write_page
from netassay.reporting.points import forest as forest
from netassay.reporting.points import scatter as scatter
from netassay.reporting.section import Axis as Axis
from netassay.reporting.section import Figure as Figure
from netassay.reporting.section import FigureSpec as FigureSpec
from netassay.reporting.section import Note as Note
from netassay.reporting.section import Part as Part
from netassay.reporting.section import Rule as Rule
from netassay.reporting.section import Section as Section
from netassay.reporting.section import Table as Table
from netassay.reporting.section import TableSpec as TableSpec
from netassay.reporting.section import refuse_twins as refuse_twins
from netassay.reporting.theme import PALETTE as PALETTE

__all__ = [
    "PALETTE",
    "Axis",
    "Figure",
    "FigureSpec",
    "Note",
    "Part",
    "Rule",
    "Section",
    "Table",
    "TableSpec",
    "forest",
    "heat_map",
    "lines",
    "logo",
    "logos",
    "refuse_twins",
    "save_figure",
    "scatter",
    "small_multiples",
    "write_page",
]
