# The one table of public names: lazy_loader reads it at run time, editors and type checkers at rest.
from . import plot as plot
from . import samples as samples
from . import simulate as simulate
from ._version import __version__ as __version__
from .models.block_model import BlockModel as BlockModel
from .models.ntf import NTF as NTF
from .evaluate.nulls import association_test as association_test
from .evaluate.nulls import sequence_test as sequence_test
from .provenance import content_hash as content_hash
from .provenance import save as save
from .registry import build as build
from .registry import load as load
from .registry import model_of as model_of
from .registry import open_fit as open_fit
from .schema import signal as signal
from .signals.sound import loud_syllables as loud_syllables
from .schema import validate as validate
