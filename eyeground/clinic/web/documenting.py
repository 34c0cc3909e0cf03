"""What the OpenAPI document says of who may do what."""

from typing import Any, Final

from eyeground.clinic.web.guard import POLICY, Policy

# Their routes look at the pass themselves: a patient has no account.
PATIENTS: Final = frozenset(("GET", f"/api/v1/patient/{what}") for what in ("report", "report.pdf", "images/{place}"))


def document_policy(document: dict[str, Any], policy: Policy = POLICY) -> None:
    """Write into an OpenAPI document who may do what, and by what he proves who he is.

    Args:
        document: As FastAPI makes it; it is changed.
        policy: Roles by method and route.

    Example:
        >>> document = {"paths": {"/healthz": {"get": {}}}}
        >>> document_policy(document)
        >>> document["paths"]["/healthz"]["get"]
        {'security': []}

    References:
        OpenAPI 3.1, "Security Requirement Object".
    """
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["token"] = {"type": "http", "scheme": "bearer", "description": "As `eyeground clinic user` prints it."}
    schemes["patient"] = {
        "type": "http",
        "scheme": "bearer",
        "description": "As `POST /api/v1/patient/sessions` gave it.",
    }
    for path, methods in document.get("paths", {}).items():
        for method, operation in methods.items():
            roles = policy[method.upper(), path]
            by = "token" if roles else "patient" if (method.upper(), path) in PATIENTS else ""
            operation["security"] = [{by: []}] if by else []
            if roles:
                operation["description"] = "\n\n".join(
                    filter(None, (operation.get("description"), f"For: {', '.join(sorted(roles))}."))
                )
