# The public simulators: lazy_loader reads this table at run time, editors and type checkers at rest.
from .circuits import dynamic_communities as dynamic_communities
