"""Types of users' data: a JSON Schema and a validating reader for each supported annotation.

``jsonable`` is the other direction: it converts Python values to JSON.
"""

from .annotations import annotation_of, object_type, value_type
from .value_type import ValueType, fields_type
