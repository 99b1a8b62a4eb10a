"""Reports of what each layer of a compressed model kept: weights, zeros, values, MACs, bytes."""

from keras_admm.reporting.count import report as report
from keras_admm.reporting.file import PackedFile as PackedFile
from keras_admm.reporting.row import ReportRow as ReportRow
from keras_admm.reporting.table import Report as Report
