"""The seal on what a doctor signs."""

import hashlib
import hmac
import json

from eyeground.clinic.db.tables import Case, Finding, Review


def signature_of(review: Review, case: Case, findings: list[Finding], images: list[str], *, key: bytes) -> str:
    """Seal what is signed: the opinion and who drafted it, the request, the images and what the models had said.

    Args:
        review: The opinion, with who and when.
        case: The case.
        findings: What the models had said.
        images: Hash and eye of each image.
        key: The service's; 32 bytes.

    Returns:
        64 hex digits.

    References:
        Our own.
    """
    told = [
        case.id, case.site, case.body_sha256, case.order, review.revision, review.opinion, review.doctor,
        review.doctor_name, review.signed_at, images,
        [(each.image_sha256, each.model_id, each.said) for each in findings],
    ]  # fmt: skip
    if review.drafted_by:  # an opinion that nobody drafted is sealed as it was before there were drafts
        told.append(review.drafted_by)
    return hmac.new(key, json.dumps(told, sort_keys=True, ensure_ascii=False).encode(), hashlib.sha256).hexdigest()
