"""What each layer of a model kept: numbers first, pictures last."""

from keras_admm.report.count import report as report
from keras_admm.report.table import Report as Report
from keras_admm.report.table import Row as Row
