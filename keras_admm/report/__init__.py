"""What each layer of a model kept: numbers first, pictures last."""

from keras_admm.report.count import report as report
from keras_admm.report.file import PackedFile as PackedFile
from keras_admm.report.row import Row as Row
from keras_admm.report.table import Report as Report
