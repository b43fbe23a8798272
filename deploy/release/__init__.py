"""From a commit to a service that runs it: build, push, roll out by digest, watch, roll back."""

from deploy.release._build import BuiltImage, build_images
from deploy.release._credentials import RegistryLogin
from deploy.release._errors import ReleaseError
from deploy.release._push import PushedImage, push_image
from deploy.release._services import SERVICES, Service

__all__ = [
    "SERVICES",
    "BuiltImage",
    "PushedImage",
    "RegistryLogin",
    "ReleaseError",
    "Service",
    "build_images",
    "push_image",
]
