# The public simulators: lazy_loader reads this table at run time, editors and type checkers at rest.
from .biclusters import biclusters as biclusters
from .choices import switching_choices as switching_choices
from .circuits import dynamic_communities as dynamic_communities
from .hubs import hub_circuit as hub_circuit
from .lfr import weighted_lfr as weighted_lfr
from .populations import switching_population as switching_population
from .stimulated import stimulated_communities as stimulated_communities
