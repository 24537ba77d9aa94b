"""The portal: an HTTP client that keeps secrets, and a parser that believes nothing."""

from asynchy.facility.portal.client import Credentials, Portal

__all__ = ["Credentials", "Portal"]
