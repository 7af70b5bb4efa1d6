# The public plots: lazy_loader reads this table at run time, editors and type checkers at rest.
from . import style as style
from .figures import connectome_figures as connectome_figures
from .fits import plot_description_length as plot_description_length
from .fits import plot_error as plot_error
from .fits import plot_rank_scan as plot_rank_scan
from .fits import plot_restart_similarity as plot_restart_similarity
from .loadings import plot_subject_loadings as plot_subject_loadings
from .loadings import plot_unit_loadings as plot_unit_loadings
from .motifs import plot_circuit as plot_circuit
from .motifs import plot_motif as plot_motif
from .motifs import plot_motifs as plot_motifs
from .recordings import plot_quality as plot_quality
from .recordings import plot_spectrogram as plot_spectrogram
from .recordings import plot_traces as plot_traces
from .timeline import plot_communities_over_time as plot_communities_over_time
from .timeline import plot_time_loadings as plot_time_loadings
