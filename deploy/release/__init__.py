"""From a commit to a service that runs it: build, push, roll out by digest, watch, roll back."""

from deploy.release._build import BuiltImage, build_images
from deploy.release._credentials import Aws, RegistryLogin, login_to
from deploy.release._docker import Docker
from deploy.release._errors import ReleaseError
from deploy.release._push import PushedImage, push_image
from deploy.release._registry import Login, Registry, registry_named
from deploy.release._services import SERVICES, Service

__all__ = [
    "SERVICES",
    "Aws",
    "BuiltImage",
    "Docker",
    "Login",
    "PushedImage",
    "Registry",
    "RegistryLogin",
    "ReleaseError",
    "Service",
    "build_images",
    "login_to",
    "push_image",
    "registry_named",
]
