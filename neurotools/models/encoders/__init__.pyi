# The public face of encoders: lazy_loader reads this table at run time, editors and type checkers at rest.
from .attention import attention_connectivity as attention_connectivity
from .encoder import Encoder as Encoder
from .faces import create as create
from .faces import list as list
from .faces import open as open
from .folder import packed as packed
from .folder import unpacked as unpacked
from .heads import Head as Head
from .joining import join as join
from .recipe import Batch as Batch
from .recipe import Given as Given
from .recipe import Recipe as Recipe
from .recipe import Stage as Stage
from .spike_windows import spike_windows as spike_windows
from .spike_writing import decode as decode
from .spike_writing import generate as generate
from .training import Training as Training
