from .find import of as of
from .group import READS as READS
from .group import STATE as STATE
from .group import WRITES as WRITES
from .group import Group as Group
from .group import Slice as Slice
from .result import Groups as Groups
from .widths import Widths as Widths
