"""The resources that users write: typed models, their validation, and their CustomResourceDefinitions.

`parse` and `validate` read an object from the cluster or from a file. What they refuse, the CRDs in ``crds/`` refuse
too: both come from the same models (`python -m trunkline_protocol.resources.crd`).
"""

from trunkline_protocol.resources.errors import FieldError, InvalidResourceError
from trunkline_protocol.resources.formats import unix_seconds
from trunkline_protocol.resources.kinds import API_VERSION, CATEGORY, GROUP, KINDS, VERSION, Kind, Resource
from trunkline_protocol.resources.metadata import LabelSelector, Namespaces, ObjectMeta, SecretKeyRef
from trunkline_protocol.resources.model_group import (
    DIALECTS,
    Access,
    Capabilities,
    ModelGroup,
    ModelGroupSpec,
    Parameters,
    Target,
)
from trunkline_protocol.resources.provider_credential import (
    Endpoint,
    ProviderCredential,
    ProviderCredentialSpec,
    ProviderKey,
)
from trunkline_protocol.resources.reading import parse, validate
from trunkline_protocol.resources.route_policy import RoutePolicy, RoutePolicySpec, TargetRef
from trunkline_protocol.resources.status import (
    Condition,
    KeyStatus,
    ModelGroupDisplay,
    ModelGroupStatus,
    ProviderCredentialDisplay,
    ProviderCredentialStatus,
    RoutePolicyDisplay,
    RoutePolicyStatus,
    Status,
    VirtualKeyDisplay,
    VirtualKeyStatus,
)
from trunkline_protocol.resources.virtual_key import VirtualKey, VirtualKeySpec

__all__ = [
    "API_VERSION",
    "CATEGORY",
    "DIALECTS",
    "GROUP",
    "KINDS",
    "VERSION",
    "Access",
    "Capabilities",
    "Condition",
    "Endpoint",
    "FieldError",
    "InvalidResourceError",
    "KeyStatus",
    "Kind",
    "LabelSelector",
    "ModelGroup",
    "ModelGroupDisplay",
    "ModelGroupSpec",
    "ModelGroupStatus",
    "Namespaces",
    "ObjectMeta",
    "Parameters",
    "ProviderCredential",
    "ProviderCredentialDisplay",
    "ProviderCredentialSpec",
    "ProviderCredentialStatus",
    "ProviderKey",
    "Resource",
    "RoutePolicy",
    "RoutePolicyDisplay",
    "RoutePolicySpec",
    "RoutePolicyStatus",
    "SecretKeyRef",
    "Status",
    "Target",
    "TargetRef",
    "VirtualKey",
    "VirtualKeyDisplay",
    "VirtualKeySpec",
    "VirtualKeyStatus",
    "parse",
    "unix_seconds",
    "validate",
]
