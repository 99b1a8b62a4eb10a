"""What each layer of a model kept: numbers first, pictures last."""

from keras_admm.reporting.count import report as report
from keras_admm.reporting.file import PackedFile as PackedFile
from keras_admm.reporting.row import Row as Row
from keras_admm.reporting.table import Report as Report
