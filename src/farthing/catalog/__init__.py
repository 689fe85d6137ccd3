"""Which rates apply to a model of a provider, at an instant, at the tier that served the call."""

from farthing.catalog.catalog import Catalog, default
from farthing.catalog.limits import reasons
from farthing.catalog.pricefile import PriceFile
from farthing.catalog.user import UserPrice

__all__ = ["Catalog", "PriceFile", "UserPrice", "default", "reasons"]
